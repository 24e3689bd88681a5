"""The report as a person sees it: in a real browser without a network, wide and narrow, light, dark and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drupelet import compile_recipe
from drupelet_host.recipe.schema import load_recipe
from drupelet_host.report.document import Report
from drupelet_host.report.html import render_html
from support.model.tiny_project import write_project
from support.screen.browser import Page, Scheme, find_chromium, open_browser
from support.screen.contrast import CONTRASTS, LEAST_CONTRAST
from support.screen.reports import make_full_report, make_report

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed: apt install chromium")

PAGES = ("compiled", "full", "steps")
LEAST_CHART_TEXT_PX = 9.0

CHART_TEXT = """[...document.querySelectorAll("svg text")].filter(text => text.getClientRects().length).map(
  text => [parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a, text.textContent])"""

CUT_TEXT = """[...document.querySelectorAll("svg text")].map(text => [text, text.getBoundingClientRect()]).filter(
  ([text, box]) => box.width && (box.left < 0 || box.right > document.documentElement.clientWidth + .5)).map(
  ([text]) => text.textContent)"""

HIDDEN_TABLES = """[...document.querySelectorAll("table")].filter(table => !table.checkVisibility(
  {contentVisibilityAuto: true})).length"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = compile_recipe(load_recipe(write_project(tmp_path_factory.mktemp("project"))))
    assert state.package is not None
    return state.package.with_name(f"{state.package.stem}.report.html")


@pytest.fixture(scope="module")
def pages(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made: dict[str, Report] = {"full": make_full_report(), "steps": make_report(steps=4)}
    for name, report in made.items():
        (folder / f"{name}.html").write_text(render_html(report), encoding="utf-8")
    return {"compiled": compiled, **{name: folder / f"{name}.html" for name in made}}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture(params=PAGES)
def shown(request: pytest.FixtureRequest, browser: Page, pages: dict[str, Path]) -> Page:
    browser.show(width=1280)
    browser.open(pages[request.param].as_uri())
    return browser


def overflow(page: Page) -> int:
    found = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert isinstance(found, int)
    return found


def open_folds(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")


def test_the_page_opens_without_a_complaint_and_asks_for_nothing_but_itself(shown: Page) -> None:
    assert shown.complaints == []
    assert len(shown.requests) == 1
    assert shown.requests[0].startswith("file://")


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1920])
def test_the_page_never_scrolls_sideways(shown: Page, width: int) -> None:
    shown.show(width=width)
    open_folds(shown)
    assert overflow(shown) == 0
    assert shown.evaluate(CUT_TEXT) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(shown: Page, scheme: Scheme) -> None:
    shown.show(width=1280, scheme=scheme)
    open_folds(shown)
    contrasts = shown.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [(text, ratio) for ratio, text in contrasts if ratio < LEAST_CONTRAST] == []


def test_dark_is_dark_and_paper_is_light(shown: Page) -> None:
    def background() -> str:
        return str(shown.evaluate("getComputedStyle(document.body).backgroundColor"))

    shown.show(width=1280, scheme="dark")
    dark = background()
    shown.show(width=1280, scheme="dark", media="print")
    assert (dark, background()) == ("rgb(15, 18, 23)", "rgb(255, 255, 255)")


def test_folded_tables_are_printed(shown: Page) -> None:
    shown.show(width=800)
    folded = shown.evaluate(HIDDEN_TABLES)
    shown.show(width=800, media="print")
    assert folded > 0
    assert shown.evaluate(HIDDEN_TABLES) == 0


def test_the_text_in_charts_can_be_read_on_a_phone(shown: Page) -> None:
    shown.show(width=360)
    open_folds(shown)
    sizes = shown.evaluate(CHART_TEXT)
    assert sizes
    assert [(text, size) for size, text in sizes if size < LEAST_CHART_TEXT_PX] == []


def test_a_screen_reader_finds_the_headings_the_tables_and_a_name_for_each_chart(shown: Page) -> None:
    shown.call("Accessibility.enable")
    nodes = [node for node in shown.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    shown.call("Accessibility.disable")
    names: dict[str, list[str]] = {}
    for node in nodes:
        names.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert {"Before and after", "Layers", "Sensitivity", "Lineage"} <= set(names["heading"])
    assert all(names["image"])
    assert all(names["table"])
    assert {"main", "banner", "contentinfo", "navigation"} <= set(names)


def test_the_page_is_drawn(shown: Page) -> None:
    shown.show(width=1280)
    shot = shown.screenshot()
    assert shot.startswith(b"\x89PNG")
    charts = shown.evaluate("[...document.querySelectorAll('svg.chart')].map(c => c.getBoundingClientRect().height)")
    assert all(height == 0 or height > 80 for height in charts)
    assert any(charts)


def test_the_pages_own_policy_stops_scripts_and_loads(browser: Page, pages: dict[str, Path], tmp_path: Path) -> None:
    planted = tmp_path / "planted.html"
    foreign = f'<script>document.title = "ran"</script><img src="{tmp_path.as_uri()}/pixel.png"></body>'
    planted.write_text(pages["steps"].read_text(encoding="utf-8").replace("</body>", foreign), encoding="utf-8")
    browser.open(planted.as_uri())
    assert browser.evaluate("document.title") == "garment-classifier 2.1.0: compile report"
    assert len(browser.complaints) == 2
    assert all("Content Security Policy" in complaint for complaint in browser.complaints)


def test_a_page_that_does_what_ours_must_not_is_caught(browser: Page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<!doctype html><title>bad</title><div style="width:3000px;color:#ddd;background:#fff">wide and pale</div>'
        '<img src="http://127.0.0.1:9/pixel.png"><script>console.error("oh"); absent()</script>',
        encoding="utf-8",
    )
    browser.show(width=1280)
    browser.open(bad.as_uri())
    assert "http://127.0.0.1:9/pixel.png" in browser.requests
    assert len(browser.complaints) >= 3
    assert overflow(browser) > 0
    assert [text for ratio, text in browser.evaluate(CONTRASTS) if ratio < LEAST_CONTRAST] == ["wide and pale"]
