"""``--set key=value`` for a course."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from models.training.course import Course, CourseError


def course_of(container: Path, settings: Sequence[str]) -> Course:
    """A course with its defaults changed. settings : ``key=value``, values in YAML; raises CourseError"""
    values: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise CourseError(f"--set {text}: expected key=value")
        values[key] = yaml.safe_load(value)
    if isinstance(values.get("track"), list):
        values["track"] = tuple(values["track"])
    return Course(container=container).changed(values)
