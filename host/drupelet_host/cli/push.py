"""`drupelet push`: bring a package onto devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, DownloadColumn, Progress, Task, TaskID, TextColumn, TransferSpeedColumn
from rich.text import Text

from drupelet_host.cli.control_options import ControlCommand, ControlOptions, control_options, run_on_devices
from drupelet_host.cli.output import explain_interruption, progress_console
from drupelet_host.cli.paragraphs import print_paragraph
from drupelet_host.cli.paths import InputPath

if TYPE_CHECKING:
    from drupelet_host.client.control.control import ControlClient
    from drupelet_shared.contract.commands import CommandProgress, InstalledRelease


_KEPT = (
    "devices keep what they have received, and go on running what they ran. Repeat the same command: it sends what is "
    "missing."
)


@click.command(cls=ControlCommand)
@click.argument("package", type=InputPath(dir_okay=False))
@control_options
@click.option("--stage", "staged", is_flag=True, help="Install without activating; activate it later with `activate`.")
def push(*, package: Path, control: ControlOptions, staged: bool) -> None:
    """Send PACKAGE, a .drupe file, to devices and wait until each has verified, measured and activated it.

    An interrupted push continues where it stopped when you repeat it. A device that has the package already keeps it.

    Example: drupelet push digits-1.2.0.drupe --device pi-7 --broker mqtt://broker.local
    """
    # Imported here because they import numpy and cryptography, which `drupelet --help` does without.
    from drupelet_host.client.control.push import push as push_package  # noqa: PLC0415
    from drupelet_host.packaging.signing import open_package  # noqa: PLC0415

    with ExitStack() as stack:
        stack.enter_context(explain_interruption(lambda: _KEPT))
        opened = stack.enter_context(open_package(package, trusted_keys=None))
        progress = None if control.as_json else _make_progress()
        if progress is not None:
            # It is started with the first bytes: without any, such as where no broker answers, nothing is drawn.
            stack.callback(progress.stop)

        def work(client: ControlClient, device: str) -> InstalledRelease:
            observer = _PushProgress(device, progress)
            with observer.drawn():
                result = push_package(client, device, package, opened, activate=not staged, observer=observer)
            if result.was_installed:
                observer.print("it has this package already")
            return result.release

        run_on_devices(
            control, work, show=lambda device, release: _show(device, release, staged=staged), shows_waiting=False
        )


def _make_progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), DownloadColumn(), _SpeedColumn())
    return Progress(*columns, console=progress_console)


class _SpeedColumn(TransferSpeedColumn):
    """Bytes per second, empty until there are two readings: a package that fits into one chunk has no speed."""

    def render(self, task: Task) -> Text:
        return Text("") if task.speed is None and task.finished_speed is None else super().render(task)


class _PushProgress:
    """A push observer that draws a bar for the bytes and prints a line for each stage, on standard error."""

    def __init__(self, device: str, progress: Progress | None) -> None:
        self._device = device
        self._progress = progress
        self._task: TaskID | None = None

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Remove the bar if the block fails."""
        try:
            yield
        except BaseException:
            if self._progress is not None and self._task is not None:
                self._progress.remove_task(self._task)
            raise

    def sent(self, done: int, total: int) -> None:
        """Draw how many bytes the device has received; a device that has the package already needs no bar."""
        if self._progress is None:
            return
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(self._device, total=total)
        else:
            self._progress.update(self._task, completed=done, total=total)

    def progressed(self, progress: CommandProgress) -> None:
        """Print a stage of the installation."""
        self.print(f"{progress.stage}: {progress.detail}")

    def print(self, text: str) -> None:
        """Print a line about the device."""
        if self._progress is not None:
            print_paragraph(f"{self._device}  {text}", to=self._progress.console)


def _show(device: str, release: InstalledRelease, *, staged: bool) -> None:
    state = "is staged on" if staged else "is active on"
    plan = release.plan
    click.echo(
        f"{release.model} {release.version} release {release.release} {state} {device}: {release.variant}, "
        f"{plan.instances} x {plan.threads} threads, p99 {plan.p99_ms:.2f} ms"
    )
