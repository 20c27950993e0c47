"""A matplotlib figure as inline SVG: text stays text, colours are the page's, ids cannot clash, the same data gives the same bytes.

matplotlib is used without pyplot and without a display. Its colours are marks that are replaced by CSS variables, so one drawing is
read in the light, in the dark and on paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = [
    "AXIS",
    "BAND",
    "COLOURS",
    "GOOD",
    "GRID",
    "HEAT",
    "INK",
    "LIMIT",
    "MUTED",
    "NEAR",
    "ONE",
    "PAPER",
    "THREE",
    "TWO",
    "inline",
    "panels",
    "plain_axes",
]

INK, MUTED, AXIS, GRID, LIMIT = "#010201", "#010202", "#010203", "#010204", "#010205"
ONE, TWO, THREE = "#010206", "#010207", "#010208"
BAND, GOOD, NEAR, PAPER = "#010209", "#01020a", "#01020b", "#01020c"
HEAT = ("#010211", "#010212", "#010213", "#010214", "#010215")
"""From a few to most."""
COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    AXIS: "var(--axis)",
    GRID: "var(--grid)",
    LIMIT: "var(--limit)",
    ONE: "var(--one)",
    TWO: "var(--two)",
    THREE: "var(--three)",
    BAND: "var(--band)",
    GOOD: "var(--good)",
    NEAR: "var(--near)",
    PAPER: "var(--paper)",
    **{mark: f"var(--heat-{level})" for level, mark in enumerate(HEAT, 1)},
}
_LEFT, _RIGHT, _BOTTOM = 0.72, 0.24, 0.5

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "roadmap-harness",
    "path.simplify": True,
    "path.simplify_threshold": 0.2,
}
_ID = re.compile(r'\b(id="|href="#|url\(#)')


def panels(
    width: float, heights: Sequence[float], *, top: float = 0.1, gap: float = 0.34, right: float = _RIGHT
) -> tuple[Figure, list[Axes]]:
    """Axes of these heights (inches) under each other, sharing their x axis; `top` and `gap` inches are left above and between them."""
    high = top + sum(heights) + gap * (len(heights) - 1) + _BOTTOM
    figure = Figure(figsize=(width, high))
    figure.patch.set_alpha(0.0)
    axes: list[Axes] = []
    begin = high - top
    for height in heights:
        begin -= height
        place = (_LEFT / width, begin / high, (width - _LEFT - right) / width, height / high)
        axes.append(figure.add_axes(place, sharex=axes[0] if axes else None))
        plain_axes(axes[-1])
        begin -= gap
    for each in axes[:-1]:
        each.tick_params(axis="x", labelbottom=False)
    return figure, axes


def plain_axes(axes: Axes) -> None:
    """Only what carries a reading: a base line, faint horizontal rules, muted labels."""
    axes.patch.set_alpha(0.0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(AXIS)
    axes.spines["bottom"].set_linewidth(0.8)
    axes.tick_params(axis="both", which="both", colors=AXIS, labelcolor=MUTED, labelsize=9.5, length=3, width=0.6)
    axes.tick_params(axis="y", which="both", length=0)
    axes.grid(axis="y", which="major", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def inline(figure: Figure, name: str) -> str:
    """The figure's <svg> element. `name` (letters and dashes) prefixes every id in it."""
    out = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    text = f'<svg {box.group() if box else ""} role="img" aria-labelledby="{name}-title" aria-describedby="{name}-says">{body}'
    text = _ID.sub(lambda found: found.group() + name + "-", text)
    text = text.replace(f'aria-labelledby="{name}-{name}-', f'aria-labelledby="{name}-')
    for mark, colour in COLOURS.items():
        text = text.replace(mark, colour)
    # The page's own typeface: a family in an attribute would win over the style sheet's.
    text = re.sub(r"font-family: [^;\"]*(; )?", "", text)
    return re.sub(r"\n\s*", "\n", text).strip()
