"""Progress of a compile in the terminal: one bar per pass and one line per decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from drupelet_host.cli.output import progress_console
from drupelet_host.progress.observer import SILENT, Observer


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[Observer]:
    """Provide an observer that draws on standard error; with `quiet` one that does nothing."""
    if quiet:
        yield SILENT
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[what]}"))
    with Progress(*columns, TimeElapsedColumn(), _TimeLeftColumn(), console=progress_console) as progress:
        yield _ProgressBars(progress)


class _TimeLeftColumn(ProgressColumn):
    """The longest time that the pass still takes; recovery often ends before its last epoch."""

    def render(self, task: Task) -> Text:
        if task.finished or task.time_remaining is None:
            return Text("")
        left = timedelta(seconds=round(task.time_remaining))
        return Text(f"at most {left} left", style="progress.remaining")


class _ProgressBars:
    """An observer that draws each pass as a bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = TaskID(0)

    def pass_started(self, name: str, *, position: int, count: int) -> None:
        self._task = self._progress.add_task(f"{position}/{count} {name}", total=None, what="")

    def progressed(self, what: str, *, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total, what=what)

    def decided(self, message: str) -> None:
        self._progress.console.print(f"    {message}", highlight=False, soft_wrap=True)

    def pass_finished(self, name: str, *, seconds: float, metrics: Mapping[str, float]) -> None:  # noqa: ARG002 - the protocol's
        self._progress.update(self._task, completed=1, total=1, what="done")
