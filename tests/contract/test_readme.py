"""The README: short, with pictures and numbers that are those of the results, and Python that can be imported."""

from __future__ import annotations

import ast
import importlib
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.pictures.numbers import BEGIN, END, replace_numbers
from benchmarks.pictures.outputs import PICTURES, README, make_outputs
from benchmarks.pictures.terminal import parse_spans, shorten
from support.source.tree import REPOSITORY

_MAX_LINES = 150
_SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PAGES = [README, *sorted((REPOSITORY / "shared/docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def outputs() -> dict[Path, str]:
    return make_outputs()


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < _MAX_LINES


def test_every_picture_and_every_number_is_what_the_results_give(outputs: dict[Path, str]) -> None:
    different = [str(path) for path, text in outputs.items() if path.read_text(encoding="utf-8") != text]

    assert different == [], "make pictures"


def test_no_other_picture_lies_beside_them(outputs: dict[Path, str]) -> None:
    assert set(PICTURES.iterdir()) == set(outputs) - {README}


def test_another_result_gives_another_table() -> None:
    compiler, agent, target = (
        json.loads((REPOSITORY / f"tests/benchmarks/results/{name}.json").read_text(encoding="utf-8"))
        for name in ("compiler", "agent", "target")
    )
    agent["soak"]["unanswered"] = 7
    agent["targets"] = [{"name": "lost", "value": 6.0, "limit": 5.0, "unit": "%", "met": False}]
    compiler["targets"] = []
    times = target["results"]["recorded"]["times"]
    next(one for one in times if (one["row"], one["engine"]) == ("a", "onnxruntime"))["ms"] = 77.0
    readme = replace_numbers(f"{BEGIN}\nold\n{END}\nafter", compiler=compiler, agent=agent, target=target)

    assert "unanswered | 7 |" in readme
    assert "| 77.0 ms ± 35 % |" in readme
    assert "Missed so far: lost (6 %, at most 5 %)." in readme
    assert readme.endswith(f"{END}\nafter")
    assert "old" not in readme


def test_every_picture_is_well_formed_and_described_in_words(outputs: dict[Path, str]) -> None:
    for path, text in outputs.items():
        if path != README:
            root = ET.fromstring(text)
            described = {child.tag.rpartition("}")[2]: child.text for child in root}
            assert described["title"], path.name
            assert described["desc"], path.name
            assert "href" not in text, path.name


def test_a_recorded_line_keeps_its_text_and_its_colours() -> None:
    spans = parse_spans("\x1b[?25l\x1b[1m$ drupelet\x1b[0m compile \x1b[35m100%\x1b[0m\x1b[?25h")

    assert [(span.text, span.style) for span in spans] == [
        ("$ drupelet", "bold"),
        (" compile ", ""),
        ("100%", "magenta"),
    ]


def test_pauses_of_a_recording_are_shortened_and_no_two_lines_come_at_once() -> None:
    times = shorten([0.0, 100.0, 100.0, 100.5])

    assert times == sorted(set(times))
    assert times[-1] - times[0] < 3


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_python_snippet_imports_what_it_uses_from_where_it_is(page: Path) -> None:
    for snippet in _SNIPPET.findall(page.read_text(encoding="utf-8")):
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("drupelet"):
                module = importlib.import_module(node.module or "")
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
        assert undefined_names(snippet) == [], page.name


def undefined_names(source: str) -> list[str]:
    """Return the names that a snippet reads and neither defines nor imports."""
    tree = ast.parse(source)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    known = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(vars(__import__("builtins")))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            known |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            known.add(node.name)
    return sorted({node.id for node in names if node.id not in known})


def test_a_name_without_an_import_is_found() -> None:
    assert undefined_names("import drupelet\ndrupelet.Runtime(device)\n") == ["device"]
