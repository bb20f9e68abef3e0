"""Self-contained pages: a template, the house's style and script, Plotly, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from agents.report import wording
from agents.report.figure import Figure

HERE = Path(__file__).parent


def write_page(
    target: Path, template: Path, figures: Mapping[str, Figure | None], context: Mapping[str, Any]
) -> None:
    """Render a template beside or outside this package to a file that is replaced in one step.

    figures : by the id of their chart in the template; None where there is nothing to draw
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals["whole"] = wording.whole
    environment.globals["number"] = wording.number
    page = environment.get_template(template.name).render(
        **context,
        figures={name: figure for name, figure in figures.items() if figure is not None},
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        js=Markup((HERE / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )
    part = target.with_name(target.name + ".part")
    part.write_text(page, encoding="utf-8")
    part.replace(target)
