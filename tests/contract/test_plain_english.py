"""Text for people uses the field's terms: words of the project's early, private dialect do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from support.source.tree import REPOSITORY, markdown_files, package_modules

# Each expression is a phrase that a reader had to decode, with the term that replaced it.
DIALECT: dict[str, str] = {
    r"\bwho(?:so)?ever\b": "the client, the device, the process: name it",
    r"\bmend(?:s|ed|ing)?\b": "repair, recover, fix",
    r"\b(?:is|are|was|were|be|been) taken back\b|\btakes? back (?:a|the|each|every) step": "rolled back",
    r"\b(?:hears?|heard) (?:of|from)\b": "receives, learns of",
    r"\b(?:says|tells) of\b": "describes, reports",
    r"\blets? go of?\b": "releases, drops",
    r"\bsomebody\b|\bnobody\b": "a client, no client, no key: name it",
    r"\bfarewell\b": "offline message",
    r"\b(?:make|makes|made|making) (?:way|room of)\b": "evict",
    r"\blessons\b": "training data",
    r"\bdead taps\b": "zero weights, padding",
    r"\bthe request in work\b": "the request being processed",
    r"Error: (?:It|None|They|There) (?:is|does|has|are|do)(?: not| none)?\.$": "a whole clause",
}
_PATTERN = re.compile("|".join(f"(?:{expression})" for expression in DIALECT), re.IGNORECASE | re.MULTILINE)


def _find_dialect(texts: Iterable[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """The phrases of the dialect in each file that has any."""
    phrases = ((name, [match.group() for text in parts for match in _PATTERN.finditer(text)]) for name, parts in texts)
    return {name: matches for name, matches in phrases if matches}


def _texts(module: Path) -> list[str]:
    """Every string of a module that may be text: docstrings, messages and the parts of f-strings."""
    tree = ast.parse((REPOSITORY / module).read_text(encoding="utf-8"))
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _comments(module: Path) -> list[str]:
    lines = (REPOSITORY / module).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("#")]


def test_every_module_speaks_plain_english() -> None:
    assert _find_dialect((str(module), [*_texts(module), *_comments(module)]) for module in package_modules()) == {}


def test_every_page_speaks_plain_english() -> None:
    pages = markdown_files()

    assert Path("README.md") in pages
    assert _find_dialect((str(page), [(REPOSITORY / page).read_text(encoding="utf-8")]) for page in pages) == {}


@pytest.mark.parametrize(
    "text",
    [
        "Whoever pushed a chunk",
        "a step recovery cannot mend",
        "it is taken back",
        "the fleet hears of it",
        "ValueError: It is.",
    ],
)
def test_the_dialect_is_recognised(text: str) -> None:
    assert _PATTERN.search(text)


@pytest.mark.parametrize("text", ["recommended", "an amendment", "The store is closed.", "the result is taken from"])
def test_plain_words_pass(text: str) -> None:
    assert not _PATTERN.search(text)
