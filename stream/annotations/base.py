"""What every file of annotations has in common: it may be wrong."""

from __future__ import annotations


class AnnotationError(ValueError):
    """A file of boxes or labels that cannot be taken: one line with its name, what is wrong, the way out."""
