"""Foreign bytes for the decoders that are written in Python: ``make fuzz-decoders``."""
