"""What tests ask of a page beside its own text."""

from __future__ import annotations

from agents.web.cells import CellTable
from tests.web.browsers import Watched
from tests.web.show import Show

_PAINTED = """(() => {
  const { scene } = octastream, { gl } = scene.renderer, view = scene.view(), light = scene.light();
  scene.renderer.draw(view, light);
  const { width, height } = scene.canvas, data = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
  const back = light.back.map((value) => Math.round(255 * value));
  let painted = 0;
  for (let k = 0; k < data.length; k += 4) {
    painted += back.some((value, c) => Math.abs(data[k + c] - value) > 4);
  }
  return painted / (width * height);
})()"""

_A_CELL = """(() => {
  const { scene } = octastream, edge = scene.canvas.getBoundingClientRect(), { frame } = scene;
  for (let r = 0; r < 0.9; r += 0.02) {
    for (let a = 0; a < 6.3; a += 0.4) {
      const x = r * Math.cos(a), y = -r * Math.sin(a), row = scene.pick(x, y, 0);
      const at = [edge.left + (x + 1) / 2 * edge.width, edge.top + (1 - y) / 2 * edge.height];
      const clear = document.elementFromPoint(...at) === scene.canvas;
      if (row >= 0 && clear && frame.probability[3 * row] < 255) return [...at, String(frame.id[row])];
    }
  }
  return null;
})()"""

_NEARER = """(() => {
  const { scene } = octastream, { shown } = scene, view = scene.view();
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const to = (i) => [0, 1, 2].map((k) => shown.centre[3 * i + k] - view.eye[k]);
  let seen = 0, hit = 0;
  for (let i = 0; i < shown.n; i += 3) {
    const depth = dot(to(i), view.ahead);
    const x = dot(to(i), view.right) / (depth * view.tan * view.aspect);
    const y = dot(to(i), view.up) / (depth * view.tan);
    if (depth < 1 || Math.abs(x) > 1 || Math.abs(y) > 1) continue;
    const row = scene.pick(x, y, 0);
    seen += 1;
    hit += row >= 0 && Math.hypot(...to(row)) <= Math.hypot(...to(i)) + 1e-3;
  }
  return [seen, hit];
})()"""

_UNNAMED = """Array.from(document.querySelectorAll("button, input, select, canvas")).filter((item) => !(
  item.innerText || item.ariaLabel || item.title || item.labels?.length || item.placeholder
)).map((item) => item.outerHTML)"""


def share_painted(page: Watched) -> float:
    """Share of the map's pixels that are not background."""
    return float(page.js(_PAINTED))


def a_cell(page: Watched) -> tuple[float, float, int]:
    """A point of the map, and the cell with a forecast that lies under it."""
    x, y, cell = page.js(_A_CELL)
    return x, y, int(cell)


def picked_before(page: Watched) -> tuple[int, int]:
    """Of the cells on the screen: how many there are, and at how many of their centres they, or one before
    them, are picked."""
    seen, hit = page.js(_NEARER)
    return int(seen), int(hit)


def unnamed(page: Watched) -> list[str]:
    """Controls that say nothing of themselves to who cannot see them."""
    return list(page.js(_UNNAMED))


def contrast(page: Watched, selector: str) -> float:
    """Of a text against the panel that it stands on (WCAG 2.2)."""
    colours = page.page.evaluate(
        """(selector) => [getComputedStyle(document.querySelector(selector)).color,
          getComputedStyle(document.querySelector("#side")).backgroundColor]""",
        selector,
    )
    low, high = sorted(map(_luminance, colours))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def pinch(page: Watched) -> None:
    """Two fingers that go apart on the map."""
    devtools = page.context.new_cdp_session(page.page)
    box = page.page.locator("#map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.75

    def touch(kind: str, *spread: float) -> None:
        points = [
            {"x": x + sign * away, "y": y, "id": (sign + 1) // 2} for away in spread for sign in (-1, 1)
        ]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 20)
    for spread in range(25, 90, 8):
        touch("touchMove", spread)
    touch("touchEnd")


def table_of(show: Show) -> CellTable:
    """The cells of the only robot there is."""
    table = show.world.cells(show.world.robots()[0])
    assert table is not None
    return table


def text(page: Watched, selector: str) -> str:
    """What a person reads there."""
    return str(page.page.inner_text(selector))
