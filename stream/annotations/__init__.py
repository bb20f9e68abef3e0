"""What people and programs say of points, boxes and images, and the cells that this is said of."""
