"""Objects: cells that belong together, where they go, and how well that is told."""
