"""Active learning: a queue of regions worth labelling, and labels that people give."""
