"""A profile as one self-contained HTML page."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from drupelet_host.profile.flame import COLOURS, Block, draw_flame
from drupelet_host.profile.totals import operators_ms, share_of, slowest, total_by_type
from drupelet_host.report.quantities import format_ms, format_percent
from drupelet_shared.contract.measuring import ProfileReport

_WIDTH, _ROW_HEIGHT, _GAP = 1200.0, 24.0, 1.0
# The average width of the 12 px letters on a block; below the minimum a label is left out.
_LETTER_WIDTH = 7.0
_MIN_LETTERS = 3


@dataclass(frozen=True, slots=True)
class _Shape:
    """A block in the units of the picture, with as much of its label as fits."""

    x: float
    y: float
    width: float
    height: float
    text: str
    title: str
    colour: str


def render_page(report: ProfileReport, *, device: str) -> str:
    """Render the page, which loads nothing and runs no script."""
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("drupelet_host.profile", "templates"), PackageLoader("drupelet_host.report", "templates")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(ms=format_ms, percent=format_percent)
    blocks = draw_flame(report)
    totals = total_by_type(report)
    return environment.get_template("profile.html.j2").render(
        report=report,
        device=device,
        operators_ms=operators_ms(report),
        shapes=[_shape(block) for block in blocks],
        width=_WIDTH,
        height=_ROW_HEIGHT * (1 + max(block.depth for block in blocks)),
        totals=[(total, min(place, COLOURS - 1)) for place, total in enumerate(totals)],
        operators=[(operator, share_of(operator, report)) for operator in slowest(report)],
    )


def _shape(block: Block) -> _Shape:
    width = max(0.5, block.width * _WIDTH - _GAP)
    letters = int((width - 8) / _LETTER_WIDTH)
    text = block.label if len(block.label) <= letters else f"{block.label[: letters - 1]}…"
    return _Shape(
        x=round(block.left * _WIDTH, 2),
        y=block.depth * _ROW_HEIGHT,
        width=round(width, 2),
        height=_ROW_HEIGHT - _GAP,
        text=text if letters >= _MIN_LETTERS else "",
        title=block.title,
        colour="group" if block.colour is None else f"kind-{block.colour}",
    )
