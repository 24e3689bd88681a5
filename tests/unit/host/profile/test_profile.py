from __future__ import annotations

import itertools
import re
from importlib.resources import files

import pytest

from drupelet_host.profile.flame import draw_flame
from drupelet_host.profile.page import render_page
from drupelet_host.profile.totals import operators_ms, slowest, total_by_type
from support.screen.contrast import LEAST_CONTRAST
from support.screen.profiles import make_profile


def test_the_types_add_up_to_the_operators_and_the_largest_comes_first() -> None:
    totals = total_by_type(make_profile())
    assert totals[0].type == "QLinearConv"
    assert totals[0].operators == 5
    assert totals[0].self_ms == pytest.approx(2.1 + 1.7 + 1.6 + 1.4 + 1.5)
    assert sum(total.share for total in totals) == pytest.approx(1.0)
    assert sum(total.self_ms for total in totals) == pytest.approx(operators_ms(make_profile()))


def test_an_operator_with_others_inside_counts_with_its_own_time() -> None:
    choice = next(operator for operator in slowest(make_profile()) if operator.type == "If")
    assert choice.self_ms == pytest.approx(0.2)


def test_scopes_are_as_wide_as_what_is_in_them_and_nothing_overlaps() -> None:
    blocks = draw_flame(make_profile())
    by_label = {block.label: block for block in blocks}
    assert (blocks[0].label, blocks[0].width, blocks[0].depth) == ("digits", 1.0, 0)
    assert by_label["layer1"].width == pytest.approx((1.7 + 1.6 + 0.2 + 1.4 + 1.5 + 0.2) / operators_ms(make_profile()))
    assert by_label["layer1"].depth == 1
    assert by_label["Gemm"].depth == by_label["choose"].depth + 1
    for depth in {block.depth for block in blocks}:
        row = [block for block in blocks if block.depth == depth]
        for left, right in itertools.pairwise(row):
            assert left.left + left.width <= right.left + 1e-9
        assert row[-1].left + row[-1].width <= 1 + 1e-9


def test_operators_of_one_type_have_one_colour_and_scopes_have_none() -> None:
    blocks = draw_flame(make_profile())
    assert {block.colour for block in blocks if block.label == "Conv"} == {0}
    assert next(block for block in blocks if block.label == "layer1").colour is None


def test_the_page_has_every_operator_and_escapes_what_the_device_says() -> None:
    report = make_profile()
    strange = report.operators[0].model_copy(update={"name": "<script>alert(1)</script>"})
    page = render_page(report.model_copy(update={"operators": (strange, *report.operators[1:])}), device="pi-7")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert all(operator.name in page for operator in report.operators[1:])
    assert "take at most 10.2" in page
    assert "://" not in page


def test_a_profile_without_operators_is_drawn_too() -> None:
    assert "0 operators" in render_page(make_profile().model_copy(update={"operators": ()}), device="pi-7")


def test_what_is_written_on_blocks_stands_out_from_each_of_their_colours() -> None:
    style = (files("drupelet_host.profile") / "templates/flame.css").read_text(encoding="utf-8")
    (ink,) = re.findall(r"text \{[^}]*fill: (#\w{6})", style)
    fills = re.findall(r"rect \{ fill: (#\w{6})", style)
    assert len(fills) == 9
    for fill in fills:
        assert (lightness(fill) + 0.05) / (lightness(ink) + 0.05) >= LEAST_CONTRAST


def lightness(colour: str) -> float:
    """Relative luminance, by WCAG 2.2."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
