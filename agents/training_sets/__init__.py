"""Runs as data to train on: stored windows, and partitioned training sets."""
