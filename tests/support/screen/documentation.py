"""The pages of the documentation as what they tell a person to do: files to write, commands to type.

In a page's source

- a fenced block whose first line is a comment with a file's name is that file;
- a `console` block has commands after `$ `, their continuation after `> `, and what they print; `…` stands for
  anything;
- `<!-- run in: FOLDER; broker: KIND; with: digits -->` says where in a checkout a page begins, which broker it needs
  (`embedded`, or `secured`: mosquitto with the files of deploy/), and whether it is about a signed package, its maker's
  keys and a picture, which an earlier guide has made;
- `<!-- exit: N -->` before a block is the exit status of its last command;
- `<!-- until: TEXT -->` before a block is what its commands that end with `&` say when they are ready;
- `<!-- not run: REASON -->` before a block says why no test can run it.

`python -m support.screen.documentation` lists what is not run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_FENCE = re.compile(r"^(?P<fence>```+)(?P<language>\w*).*?\n(?P<text>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)
_DIRECTIVE = re.compile(r"<!-- (?P<what>exit|until|not run): (?P<value>[^\n]+) -->\n+\Z")
_PAGE = re.compile(r"<!-- (?P<settings>run in: .+?) -->")
_FILE_NAME = re.compile(r"^# (?P<name>[\w./-]+\.\w+)\s*$")


@dataclass(frozen=True, slots=True)
class File:
    """A file that a person writes."""

    line: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a person types.

    Attributes:
        expected: The lines it is said to print, in order.
        status: Its exit status.
        ready: What it says when it is ready, if it ends with `&`.
        reason: Why no test can run it.
    """

    line: int
    text: str
    expected: tuple[str, ...] = ()
    status: int = 0
    ready: str = "health=ready"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and where it begins: a folder of a checkout, with a broker of some kind, or with a package."""

    path: Path
    folder: str = "."
    broker: str | None = None
    package: str | None = None
    steps: tuple[File | Command, ...] = field(default_factory=tuple)

    @property
    def name(self) -> str:
        """Where it is in the repository."""
        return str(self.path.relative_to(ROOT))

    @property
    def commands(self) -> tuple[Command, ...]:
        """Its commands."""
        return tuple(step for step in self.steps if isinstance(step, Command))


def find_pages() -> list[Page]:
    """Return every page of the repository that has a command in it."""
    paths = [ROOT / "README.md", ROOT / "deploy/README.md", *sorted((ROOT / "shared/docs").rglob("*.md"))]
    pages = [read_page(path) for path in paths]
    return [page for page in pages if page.commands]


def read_page(path: Path) -> Page:
    """Read a page's source."""
    text = path.read_text(encoding="utf-8")
    found = _PAGE.search(text)
    settings = dict(setting.split(": ") for setting in found["settings"].split("; ")) if found else {}
    return Page(
        path=path,
        folder=settings.get("run in", "."),
        broker=settings.get("broker"),
        package=settings.get("with"),
        steps=tuple(_steps(text)),
    )


def _steps(text: str) -> Iterator[File | Command]:
    for block in _FENCE.finditer(text):
        line = text.count("\n", 0, block.start()) + 2
        directive = _DIRECTIVE.search(text[: block.start()])
        if block["language"] == "console":
            yield from _commands(block["text"], line, directive)
        elif name := _FILE_NAME.match(block["text"].partition("\n")[0]):
            yield File(line, name["name"], block["text"])


def _commands(text: str, first_line: int, directive: re.Match[str] | None) -> Iterator[Command]:
    found: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=first_line):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif line.startswith("> "):
            found[-1][1].append(line[2:])
        elif line.strip():
            assert found, f"line {number}: a console block begins with a command"
            found[-1][2].append(line)
    told = {directive["what"]: directive["value"]} if directive else {}
    for position, (number, words, output) in enumerate(found, start=1):
        yield Command(
            line=number,
            text="\n".join(words),
            expected=tuple(output),
            status=int(told.get("exit", 0)) if position == len(found) else 0,
            ready=told.get("until", "health=ready"),
            reason=told.get("not run"),
        )


def main() -> None:
    """List the commands that no test runs."""
    skipped = [(page, command) for page in find_pages() for command in page.commands if command.reason]
    total = sum(len(page.commands) for page in find_pages())
    for page, command in skipped:
        sys.stdout.write(f"{page.name}:{command.line}: {command.text.splitlines()[0]}  ({command.reason})\n")
    sys.stdout.write(f"{len(skipped)} of {total} commands are not run\n")


if __name__ == "__main__":
    main()
