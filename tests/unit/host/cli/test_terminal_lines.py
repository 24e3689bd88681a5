"""Lines that fit a terminal: sentences broken between words, bars whose numbers stay whole, names with both ends."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from drupelet_host.cli.compile_progress import BarTable
from drupelet_host.cli.paragraphs import print_paragraph, short_path, wrap_lines
from drupelet_host.fleet.fitting import shorten

SENTENCE = "    step 2: 100% of the plan, 2580 parameters: metric 1.0000, at least 0.9500: kept"


def terminal(width: int, height: int = 24) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width, height=height)


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_terminal_gets_whole_words_and_further_lines_are_indented(width: int) -> None:
    console = terminal(width)
    print_paragraph(SENTENCE, to=console)
    shown = lines(console)
    assert all(len(line) <= width for line in shown)
    assert " ".join(line.strip() for line in shown) == SENTENCE.strip()
    assert all(line.startswith("      ") for line in shown[1:])


def test_a_pipe_gets_each_line_whole() -> None:
    console = Console(file=io.StringIO(), width=40)
    print_paragraph(SENTENCE, to=console)
    assert lines(console) == [SENTENCE]


def test_text_is_no_markup() -> None:
    console = terminal(80)
    print_paragraph("limits: [constraints] [bold]", to=console)
    assert lines(console) == ["limits: [constraints] [bold]"]


def test_a_word_longer_than_a_line_can_be_copied_whole() -> None:
    path = "/home/someone/" + "folder/" * 10 + "package.drupe"
    assert path in wrap_lines(f"the package {path} is not there", 40).split()


def test_aligned_lines_that_fit_keep_their_gaps() -> None:
    assert wrap_lines("a:\n  x    y\n  longer  z", 20) == "a:\n  x    y\n  longer  z"


def test_a_path_below_the_working_folder_is_shown_as_it_would_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(Path.cwd() / "build" / "a.drupe") == "build/a.drupe"
    assert short_path(Path("/elsewhere/a.drupe")) == "/elsewhere/a.drupe"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_bar_is_broken_over_lines_or_reaches_the_place_of_an_interrupt(width: int) -> None:
    console = terminal(width)
    progress = BarTable(console)
    progress.add_task("compile", total=13, completed=8, what="pass 9 of 13", left="about 0:00:04 left")
    task = progress.add_task("9/13 evaluate_variants", total=5, what="calibration by minmax+bias of all layers")
    progress.update(task, completed=4)
    console.print(progress)
    shown = [line.rstrip() for line in lines(console) if line.strip()]
    assert len(shown) == 2
    assert all(len(line) <= width - 3 for line in shown)
    assert "about 0:00:04 left" in shown[0]
    assert shown[1].startswith("9/13 evaluate_variants ")
    assert re.search(r"\d:\d\d:\d\d", shown[1]) or "-:--:--" in shown[1]


def test_a_low_terminal_shows_the_whole_compile_and_the_latest_passes() -> None:
    console = terminal(80, height=6)
    progress = BarTable(console)
    progress.add_task("compile", total=13, what="pass 13 of 13", left="")
    for number in range(1, 14):
        progress.add_task(f"{number}/13 pass", total=1, what="")
    console.print(progress)
    shown = [line.split()[0] for line in lines(console) if line.strip()]
    assert shown == ["compile", "10/13", "11/13", "12/13", "13/13"]


@pytest.mark.parametrize(
    ("width", "expected"),
    [(8, "gree…t-7"), (11, "green…eft-7"), (40, "greenhouse-north-entrance-left-7"), (1, "…"), (2, "g…")],
)
def test_a_name_that_is_cut_keeps_both_ends(width: int, expected: str) -> None:
    assert shorten("greenhouse-north-entrance-left-7", width) == expected
