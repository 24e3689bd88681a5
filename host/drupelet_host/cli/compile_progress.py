"""Progress of a compile in the terminal: one bar per pass and one line per decision."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from drupelet_host.cli.output import explain_interruption, progress_console
from drupelet_host.cli.paragraphs import print_paragraph
from drupelet_host.progress.observer import SILENT, NotingObserver, Observer
from drupelet_host.progress.overall import OverallProgress

# What the terminal shows for Ctrl-C at the end of the last line; a line that it breaks would be left behind.
_INTERRUPT_MARK = 3
_BAR, _LEAST_WHAT = 24, 1
# The longest name of a pass, the shortest bar, the time taken, the time left, and what lies between columns.
_OTHER_COLUMNS = 22 + 4 + 7 + 20 + 4
# The whole compile, and the line below the bars.
_OTHER_LINES = 2


@contextmanager
def show_progress(*, quiet: bool, cache: Path | None, passes: Sequence[str]) -> Iterator[Observer]:
    """Provide an observer that draws on standard error; after Ctrl-C say what is kept.

    Args:
        quiet: Whether nothing is drawn.
        cache: The folder for finished passes; None if nothing is kept.
        passes: The names of all passes of the compile, in order.

    Returns:
        A context manager that provides the observer.
    """
    with ExitStack() as stack:
        observer = PassTracker(SILENT)
        stack.enter_context(explain_interruption(lambda: observer.describe_kept(cache)))
        if not quiet:
            observer = PassTracker(stack.enter_context(_draw_bars(passes)))
        yield observer


@contextmanager
def _draw_bars(passes: Sequence[str]) -> Iterator[Observer]:
    with BarTable(progress_console) as progress:
        bars = _ProgressBars(progress, OverallProgress(passes))
        try:
            yield bars
        except BaseException:
            bars.remove_unstarted()
            raise


class BarTable(Progress):
    """Bars that fit the terminal: numbers are never broken over lines, and of many bars the latest are shown."""

    def __init__(self, console: Console) -> None:
        """Make it without bars.

        Args:
            console: Where it is drawn.
        """
        # Rich draws before its own console is set.
        self._terminal = console
        self._what = Column(no_wrap=True, overflow="ellipsis")
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=_BAR),
            TextColumn("{task.fields[what]}", table_column=self._what),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            _TimeLeftColumn(table_column=Column(no_wrap=True)),
            console=console,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the table of bars, drawn for the size that the terminal has now."""
        width = self._terminal.width - _INTERRUPT_MARK
        self._what.max_width = max(_LEAST_WHAT, width - _OTHER_COLUMNS)
        whole, passes = self.tasks[:1], self.tasks[1:]
        if self._terminal.is_terminal:
            passes = passes[-max(1, self._terminal.height - _OTHER_LINES) :]
        yield Constrain(self.make_tasks_table([*whole, *passes]), width)


class PassTracker(NotingObserver):
    """Passes everything on to another observer, and knows how far the compile is.

    Attributes:
        running: The pass that runs, with its position; empty before the first.
        finished: The number of finished passes.
    """

    def __init__(self, observer: Observer) -> None:
        """Start before the first pass.

        Args:
            observer: Gets everything.
        """
        super().__init__(observer)
        self.running = ""
        self.finished = 0

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        """Note the pass and pass it on; see `Observer.pass_started`."""
        self.running = f"{name} (pass {position} of {count})"
        super().pass_started(name, position=position, count=count)

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:
        """Count the pass and pass it on; see `Observer.pass_finished`."""
        self.finished += 1
        super().pass_finished(name, seconds=seconds, metrics=metrics)

    def describe_kept(self, cache: Path | None) -> str:
        """Return what of the compile is kept if it ends now, and how it goes on.

        Args:
            cache: The folder for finished passes; None if nothing is kept.
        """
        again = shlex.join(["drupelet", *sys.argv[1:]])
        where = f"in {self.running}" if self.running else "before the first pass"
        if cache is None:
            return f"{where}. With --no-cache nothing is kept, and the same command starts anew:\n  {again}"
        kept = f"{self.finished} finished {'pass' if self.finished == 1 else 'passes'}"
        if self.running.startswith("prune "):
            kept += ", and the finished candidates of prune"
        return f"{where}. Kept for two weeks in {cache}: {kept}. The same command goes on from there:\n  {again}"


class _TimeLeftColumn(ProgressColumn):
    """The longest time that the pass still takes, as recovery often ends before its last epoch; of all, a guess."""

    def render(self, task: Task) -> Text:
        if "left" in task.fields:
            return Text(task.fields["left"], style="progress.remaining")
        if task.finished or task.time_remaining is None:
            return Text("")
        left = timedelta(seconds=round(task.time_remaining))
        return Text(f"at most {left} left", style="progress.remaining")


class _ProgressBars:
    """An observer that draws the whole compile and each pass as a bar."""

    def __init__(self, progress: Progress, overall: OverallProgress) -> None:
        self._progress = progress
        self._overall = overall
        self._whole = progress.add_task("compile", total=None, what="", left="")
        self._task = TaskID(0)
        self._finished = 0

    def remove_unstarted(self) -> None:
        """Remove the bar of a compile that failed before its first pass: it has nothing to show."""
        if len(self._progress.tasks) == 1:
            self._progress.remove_task(self._whole)

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        self._finished = position - 1
        self._task = self._progress.add_task(f"{position}/{count} {name}", total=None, what="")
        self._overall.start(name)
        self._show_whole(completed=self._finished, total=count, what=f"pass {position} of {count}")

    def progressed(self, what: str, *, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total, what=what)
        self._overall.progress(done=done, total=total)
        self._show_whole()

    def decided(self, message: str) -> None:
        print_paragraph(f"    {message}", to=self._progress.console)

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:  # noqa: ARG002 - the protocol's
        self._progress.update(self._task, completed=1, total=1, what="done")
        self._overall.finish(name, seconds=seconds)
        self._finished += 1
        self._show_whole(completed=self._finished)

    def _show_whole(self, **changes: Any) -> None:  # noqa: ANN401 - what the task shows
        left_s = self._overall.left_s()
        left = "" if not left_s else f"about {timedelta(seconds=round(left_s))} left"
        self._progress.update(self._whole, left=left, **changes)
