"""The documentation builds without a warning, and none of its links leads nowhere."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import drupelet
from support.screen.documentation import ROOT

# The API reference imports PyTorch: minutes on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DOCS = ROOT / "shared/docs"


class Links(HTMLParser):
    """What a page can be pointed at, and what it points at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.targets.append(found["href"])
        self.loaded += [found[name] for name in ("src", "href") if name in found and tag in {"img", "script", "link"}]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--nitpicky"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_of_the_sources_is_built(site: Path, pages: dict[Path, Links]) -> None:
    sources = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert {path.relative_to(site) for path in pages} >= sources
    assert {"recipe.schema.json", "agent.schema.json"} <= {path.name for path in site.iterdir()}


def test_every_link_leads_to_a_page_and_a_place_on_it(pages: dict[Path, Links]) -> None:
    broken = []
    for path, page in pages.items():
        for target in page.targets:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            to = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not to.exists() or (url.fragment and to in pages and unquote(url.fragment) not in pages[to].anchors):
                broken.append(f"{path.name}: {target}")
    assert broken == []


def test_every_public_python_name_has_an_entry(site: Path, pages: dict[Path, Links]) -> None:
    names = {f"drupelet.{name}" for name in drupelet.__all__} | {
        f"drupelet.errors.{name}" for name in drupelet.errors.__all__
    }
    names = names - {"drupelet.errors"} | {"module-drupelet.errors"}
    assert names - pages[site / "api/index.html"].anchors == set()


def test_the_site_loads_nothing_from_elsewhere(pages: dict[Path, Links]) -> None:
    assert [url for page in pages.values() for url in page.loaded if urlsplit(url).netloc] == []


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "deploy/README.md", ROOT / "CHANGELOG.md"], ids=str)
def test_the_files_that_a_page_outside_the_site_links_to_are_there(path: Path) -> None:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - the tests of the site do without

    tokens = [child for token in MarkdownIt().parse(path.read_text(encoding="utf-8")) for child in token.children or []]
    links = [urlsplit(str(token.attrs["href"])) for token in tokens if token.type == "link_open"]
    missing = [link.path for link in links if not link.scheme and link.path and not (path.parent / link.path).exists()]
    assert missing == []
