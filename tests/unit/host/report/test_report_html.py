"""The page as a document: what it holds, that it is whole, and that it needs nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from drupelet_host.report.document import ModelledLatency, Report
from drupelet_host.report.html import render_html
from support.screen.reports import MACHINE, make_full_report, make_report

VOID = {"meta", "link", "br", "hr", "img", "input"}
REPORTS = {
    "full": make_full_report(),
    "steps": make_report(steps=4),
    "search": make_report(candidates=4),
    "bare": make_report(groups=0, checks=(), lineage=(), macs_before=None, macs_after=None),
}


@dataclass
class Outline(HTMLParser):
    """Every element with its attributes, the text of headings and tables, and tags that do not match."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _stack: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "table":
            self.tables.append("")
            self.captions.append("")
        if tag not in VOID:
            self._stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._stack or self._stack.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if "table" in self._stack:
            self.tables[-1] += data
        if "caption" in self._stack:
            self.captions[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def outline(report: Report) -> Outline:
    found = Outline()
    found.feed(render_html(report))
    found.close()
    return found


@pytest.fixture(params=REPORTS)
def report(request: pytest.FixtureRequest) -> Report:
    return REPORTS[request.param]


def test_the_same_report_gives_the_same_bytes(report: Report) -> None:
    again = Report.model_validate_json(report.to_bytes())
    assert render_html(again).encode() == render_html(report).encode()


def test_every_tag_that_opens_closes(report: Report) -> None:
    found = outline(report)
    assert found.faults == []
    assert found._stack == []


def test_headings_go_down_one_level_at_a_time(report: Report) -> None:
    headings = outline(report).headings
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(headings))


def test_every_link_leads_to_a_place_on_the_page_and_every_place_has_one_name(report: Report) -> None:
    found = outline(report)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [str(attributes["href"]) for attributes in found.all("a")]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(ids)
    named = {attributes["aria-labelledby"] for attributes in found.all("section")}
    assert named <= set(ids)


def test_tables_have_captions_and_header_cells_say_what_they_head(report: Report) -> None:
    found = outline(report)
    assert found.captions
    assert all(caption.strip() for caption in found.captions)
    assert {attributes.get("scope") for attributes in found.all("th")} == {"row", "col"}


def test_sentences_of_notes_have_a_space_between_them() -> None:
    for report in REPORTS.values():
        assert re.findall(r"[a-z)]\.[A-Z][a-z]+ [a-z]", re.sub(r"<[^>]+>", "", render_html(report))) == []


def test_a_p99_far_above_the_median_is_called_noise_and_another_is_not() -> None:
    calm = make_report()
    noisy = calm.variants[0].model_copy(update={"p99_ms": calm.variants[0].p50_ms * 3.1})
    assert "is noise" not in render_html(calm)
    page = render_html(calm.model_copy(update={"variants": (noisy, *calm.variants[1:])}))
    assert page.count('<span class="note">noise</span>') == 1
    assert "A p99 of more than 3 times the p50 is noise" in page


def test_long_tables_of_details_are_collapsed_and_short_ones_are_not() -> None:
    def is_open(report: Report, start: str) -> bool:
        return bool(re.search(rf'<details class="card" open>\n<summary>{start}', render_html(report)))

    short, long = make_report(groups=4, candidates=3), make_full_report()
    for start in ("Channels of", "Candidates"):
        assert (is_open(short, start), is_open(long, start)) == (True, False)
    assert "Constraints on every variant: 8 met</summary>" in render_html(short)


def test_every_table_with_times_names_the_machine(report: Report) -> None:
    found = outline(report)
    timed = [
        caption
        for caption, text in zip(found.captions, found.tables, strict=True)
        if re.search(r"\d m?s\b", text.removeprefix(caption))
    ]
    assert timed
    assert all(MACHINE in caption or "modelled for raspberry_pi_4" in caption for caption in timed)


def test_modelled_times_stand_in_a_column_of_their_own_with_their_range() -> None:
    report = make_report()
    modelled = ModelledLatency(p50_ms=7.89, low_ms=5.25, high_ms=10.5, source="modelled for raspberry_pi_4")
    rows = tuple(row.model_copy(update={"modelled": modelled}) for row in report.variants)
    changes = {"variants": rows, "is_modelled": True, "latency_place": "raspberry_pi_4, modelled"}
    page = render_html(report.model_copy(update=changes))
    assert "p50 on raspberry_pi_4, modelled" in page
    assert "7.890 ms" in page
    assert "5.250 ms to 10.50 ms" in page
    assert "Modelled times were not measured" in page
    # What was measured keeps its place.
    assert f"p50 and p99 on {MACHINE}" in page
    assert "modelled" not in render_html(report)


def test_every_chart_is_an_image_with_a_text(report: Report) -> None:
    for attributes in outline(report).all("svg"):
        assert attributes.get("aria-hidden") == "true" or (attributes.get("role") == "img" and attributes["aria-label"])


def test_the_page_runs_nothing_and_loads_nothing(report: Report) -> None:
    found, page = outline(report), render_html(report)
    assert not {"script", "iframe", "object", "embed", "img", "form"} & {tag for tag, _ in found.elements}
    assert "://" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert [attributes["href"] for attributes in found.all("link")] == ["data:,"]
    (policy,) = (attributes["content"] for attributes in found.all("meta") if "http-equiv" in attributes)
    assert str(policy).startswith("default-src 'none'; ")


def test_what_came_from_outside_is_shown_and_never_obeyed() -> None:
    report = make_report(machine="<script>alert(1)</script>", notes=("<img src=x onerror=alert(2)>",))
    found = outline(report)
    assert not found.all("script")
    assert not found.all("img")
    assert "&lt;script&gt;" in render_html(report)


def test_a_page_of_sixty_groups_stays_below_300_kb() -> None:
    assert len(render_html(make_full_report()).encode()) < 300_000


def test_every_group_has_its_curve_and_every_candidate_its_dots() -> None:
    report = make_full_report()
    page = render_html(report)
    assert page.count("<polyline") == len(report.sensitivity) == 60
    assert page.count('<g class="dot') == 2 * len(report.frontier) == 60
    assert all(row.reason in page for row in report.frontier)


def test_many_groups_are_folded_and_few_are_not() -> None:
    assert "36 more groups" in render_html(make_full_report())
    assert "more groups" not in render_html(make_report(groups=24))


def test_optional_parts_appear_where_there_is_something_to_show() -> None:
    full, bare = render_html(make_full_report()), render_html(REPORTS["bare"])
    for heading in (
        "Calibration methods tried",
        "Precision by layer",
        "Layers that could not be pruned",
        "Sensitivity",
    ):
        assert heading in full
        assert heading not in bare
    assert "Multiply-accumulates" not in bare
    assert "Precision of 62 layers: 6 in float, 56 in int8" in re.sub(r"\s+", " ", full)


def test_the_page_says_that_the_times_are_not_the_devices(report: Report) -> None:
    assert "they are not representative of the device" in render_html(report)
