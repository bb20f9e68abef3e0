"""Training sets: cells as rows of partitioned Parquet that anything can read and that takes new columns."""
