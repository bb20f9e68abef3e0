"""``--set key=value`` for a course."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.training.course import Course, CourseError
from stream.plain_yaml import YamlError, read_yaml


def course_of(container: Path, settings: Sequence[str]) -> Course:
    """A course with its defaults changed. settings : ``key=value``, values in YAML; raises CourseError"""
    values: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise CourseError(f"--set {text}: expected key=value")
        try:
            values[key] = read_yaml(value)
        except YamlError as error:
            raise CourseError(f"--set {text}: {error}") from error
    if isinstance(values.get("track"), list):
        values["track"] = tuple(values["track"])
    return Course(container=container).changed(values)
