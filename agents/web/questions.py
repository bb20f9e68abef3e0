"""What /predict and /map are asked, and what they answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_METRES = 100_000.0

Metres = Annotated[float, Field(ge=-MOST_METRES, le=MOST_METRES, allow_inf_nan=False)]
Radius = Annotated[float, Field(gt=0, le=MOST_METRES, allow_inf_nan=False)]
Point = tuple[Metres, Metres, Metres]
Id64 = Annotated[int, Field(ge=0, lt=2**64, strict=True)]
CellText = Annotated[str, Field(max_length=64)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Lod = Annotated[int, Field(ge=0, le=15)]


class Box(BaseModel):
    """An axis-aligned box, both corners included."""

    model_config = ConfigDict(extra="forbid")

    min: Point
    max: Point

    @model_validator(mode="after")
    def _ordered(self) -> Box:
        for axis, low, high in zip("xyz", self.min, self.max, strict=True):
            if low > high:
                raise ValueError(f"box: min.{axis} {low:g} is above max.{axis} {high:g}")
        return self


class Sphere(BaseModel):
    """A ball."""

    model_config = ConfigDict(extra="forbid")

    centre: Point
    radius_m: Radius


class PredictQuestion(BaseModel):
    """Which cells: a list of ids, a box, a sphere, or a robot's surroundings.

    cells: integers, or bech32m text; levels may differ. radius_m: about the robot's sensor; without any of
    these, all cells of the robot. frame: of box and sphere: the map frame, which is the default, or "sensor".
    lod: of the answer for regions; the grid's own by default. model: another one than what serves.
    compute: make features and forecast anew in this server instead of passing on what Perceive has made.
    user_id: any key; the model that has it answers, where traffic is split. ab: the same for the stream.
    ids: how cells of regions are named.
    """

    model_config = ConfigDict(extra="forbid")

    cells: list[Id64 | CellText] | None = None
    box: Box | None = None
    sphere: Sphere | None = None
    radius_m: Radius | None = None
    robot: Name | None = None
    frame: Name | None = None
    lod: Lod | None = None
    model: Name | None = None
    compute: bool = False
    user_id: Name | None = None
    ab: bool = False
    ids: Literal["integer", "text"] = "integer"

    @property
    def routed(self) -> bool:
        """Whether the split of traffic chooses the model."""
        return self.ab or self.user_id is not None

    @property
    def anew(self) -> bool:
        """Whether a forecast is made here, by whichever model."""
        return self.model is not None or self.compute or self.routed

    @model_validator(mode="after")
    def _one_region(self) -> PredictQuestion:
        given = [name for name in ("cells", "box", "sphere", "radius_m") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: give one of them")
        if not given and self.robot is None:
            raise ValueError("nothing is asked for: give cells, box, sphere, or robot")
        if self.robot is None and (self.radius_m is not None or self.frame == "sensor"):
            raise ValueError("robot: is needed to know where its sensor is")
        if self.robot is None and self.anew:
            raise ValueError("robot: is needed to forecast anew; each has features of its own")
        if self.model is not None and self.routed:
            raise ValueError("model and user_id: give one of them; a user_id chooses the model")
        if self.cells is not None and self.lod is not None:
            raise ValueError("lod: cells have their own; leave it out")
        return self


class CellForecast(BaseModel):
    """One cell: its probability of being occupied at each horizon, null where nothing was forecast."""

    cell_id: int | str
    probability: list[float] | None
    robot: str | None = None


class ForecastFacts(BaseModel):
    """The forecast that cells were looked up in."""

    robot: str
    prediction_id: str
    stamp_ns: int
    model: str
    computed: bool
    arm: str | None = None


class PredictAnswer(BaseModel):
    """Cells in the order in which they were asked for, of regions by id; probabilities at ``horizons_ns``."""

    predictions: list[CellForecast]
    latency_ms: float
    model: str
    horizons_ns: list[int]
    forecasts: list[ForecastFacts]


class MapCell(BaseModel):
    """One cell of the map; null where nothing is known."""

    cell_id: int | str
    centre: Point
    hits: int
    passes: int | None
    age_s: float | None
    probability: list[float] | None
    outcome: list[bool | None]


class MapAnswer(BaseModel):
    """Cells of one robot by id."""

    robot: str
    stamp_ns: int
    frame: str
    lod: int
    horizons_ns: list[int]
    cells: list[MapCell]


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """For OpenAPI, of an answer that is written by hand."""
    return {"model": model}
