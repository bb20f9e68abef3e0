"""Other things than occupancy, trained on a stored run: semantic class, change, intensity."""
