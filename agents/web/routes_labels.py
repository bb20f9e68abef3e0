"""Labels of cells: given, and listed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from agents.web.labels import Label, Labels, LabelsFull
from agents.web.predict import ids_of
from agents.web.problems import RESPONSES, Problem
from agents.web.questions import CellText, Id64
from agents.web.service import Service, json_answer

MOST_AT_ONCE = 10_000
CREATED = 201

Class = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}$")]


class GivenLabel(BaseModel):
    """A class for a cell: in the sweep of one stamp, or at any time."""

    model_config = ConfigDict(extra="forbid")

    cell_id: Id64 | CellText
    label: Class
    author: Annotated[str, Field(min_length=1, max_length=64)] = "anybody"
    at_ns: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = 0


class GivenLabels(BaseModel):
    """Labels to keep, all or none."""

    model_config = ConfigDict(extra="forbid")

    labels: Annotated[list[GivenLabel], Field(min_length=1, max_length=MOST_AT_ONCE)]


class KeptLabel(BaseModel):
    """A label as it is kept: cell_id is decimal text, stamp_ns when it was given."""

    cell_id: str
    label: str
    author: str
    stamp_ns: int
    at_ns: int
    number: int | None = None


class LabelsAnswer(BaseModel):
    """Labels in the order in which they were given."""

    labels: list[KeptLabel]
    count: int


def label_routes(service: Service) -> APIRouter:
    """POST and GET /labels."""
    router = APIRouter(tags=["labels"], responses=RESPONSES)
    labels: Labels = service.labels

    @router.post("/labels", status_code=CREATED, response_model=LabelsAnswer)
    def give(given: GivenLabels) -> Response:
        """Keep what people say of cells; a later label of a cell stands beside an earlier one."""
        cell_id = ids_of([item.cell_id for item in given.labels])
        lods, own = service.predictor.check_cells(cell_id), service.world.config.grid.lod
        if (lods != own).any():
            place = int(np.argmax(lods != own))
            raise Problem(422, f"labels.{place}.cell_id: has LOD {lods[place]}; cells have LOD {own}")
        named = zip(cell_id.tolist(), given.labels, strict=True)
        new = [
            Label(cell_id=str(cell), label=item.label, author=item.author, at_ns=item.at_ns)
            for cell, item in named
        ]
        try:
            kept = labels.add(new)
        except LabelsFull as error:
            raise Problem(507, f"labels: {error}") from error
        answer = json_answer({"labels": [asdict(label) for label in kept], "count": len(labels)})
        answer.status_code = CREATED
        return answer

    @router.get("/labels", response_model=LabelsAnswer)
    def listed(
        after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_AT_ONCE)] = 1000,
    ) -> Response:
        """Labels after a number, and how many there are."""
        rows: list[dict[str, Any]] = [
            {"number": number, **asdict(label)} for number, label in labels.list(after, limit)
        ]
        return json_answer({"labels": rows, "count": len(labels)})

    return router
