"""The page of a profile as a person sees it, in a real browser without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drupelet_host.profile.page import render_page
from support.screen.browser import Page, Scheme, find_chromium, open_browser
from support.screen.contrast import CONTRASTS, LEAST_CONTRAST
from support.screen.profiles import make_profile

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed: apt install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def shown(browser: Page, tmp_path: Path) -> Page:
    page = tmp_path / "profile.html"
    page.write_text(render_page(make_profile(), device="pi-7"), encoding="utf-8")
    browser.show(width=1280)
    browser.open(page.as_uri())
    return browser


def test_the_page_opens_without_a_complaint_and_asks_for_nothing_but_itself(shown: Page, tmp_path: Path) -> None:
    (tmp_path / "profile.png").write_bytes(shown.screenshot())
    assert shown.complaints == []
    assert len(shown.requests) == 1


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_the_page_never_scrolls_sideways(shown: Page, width: int) -> None:
    shown.show(width=width)
    assert shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(shown: Page, scheme: Scheme) -> None:
    shown.show(width=1280, scheme=scheme)
    # Text on blocks has their colours behind it, of which the unit test knows.
    on_blocks = set(shown.evaluate("[...document.querySelectorAll('.flame text')].map(text => text.textContent)"))
    contrasts = [(ratio, text) for ratio, text in shown.evaluate(CONTRASTS) if text not in on_blocks]
    assert len(contrasts) > 80
    assert [(text, ratio) for ratio, text in contrasts if ratio < LEAST_CONTRAST] == []


def test_wide_blocks_are_labelled_within_their_edges(shown: Page) -> None:
    beyond = """(() => {
      const right = (group, tag) => group.querySelector(tag).getBoundingClientRect().right;
      const labelled = [...document.querySelectorAll(".flame g")].filter(group => group.querySelector("text"));
      return labelled.filter(group => right(group, "text") > right(group, "rect")).map(group => group.textContent);
    })()"""
    assert shown.evaluate(beyond) == []
    labels = shown.evaluate("[...document.querySelectorAll('.flame text')].map(text => text.textContent)")
    assert {"digits", "layer1", "conv1", "Conv"} <= set(labels)
