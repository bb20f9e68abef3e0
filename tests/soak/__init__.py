"""An hour and more of a fleet on a broker, with mishaps: ``make soak MINUTES=60``."""
