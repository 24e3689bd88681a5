"""`drupelet push`: bring a package onto devices."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, DownloadColumn, Progress, Task, TextColumn, TransferSpeedColumn
from rich.text import Text

from drupelet_host.cli.control_options import Control, ControlCommand, control_options, give_orders
from drupelet_host.cli.output import progress_console

if TYPE_CHECKING:
    from drupelet_host.client.control.control import ControlClient
    from drupelet_shared.contract.commands import CommandProgress, InstalledRelease


@click.command(cls=ControlCommand)
@click.argument("package", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@control_options
@click.option("--stage", "staged", is_flag=True, help="Install it beside the active release; `activate` runs it later.")
def push(*, package: Path, control: Control, staged: bool) -> None:
    """Send PACKAGE, a .drupe file, to devices, and wait until each has verified, checked, measured and activated it.

    A push that was interrupted goes on from where it was when it is given again. A device that has the package already
    is left as it is.

    Example: drupelet push digits-1.2.0.drupe --device pi-7 --broker mqtt://broker.local
    """
    # Imported here because they import numpy and cryptography, which `drupelet --help` does without.
    from drupelet_host.client.control.push import push as push_package  # noqa: PLC0415
    from drupelet_host.packaging.signing import open_package  # noqa: PLC0415

    with ExitStack() as stack:
        opened = stack.enter_context(open_package(package, trusted_keys=None))
        progress = None if control.as_json else stack.enter_context(_make_progress())

        def work(client: ControlClient, device: str) -> InstalledRelease:
            observer = _Shown(device, progress)
            pushed = push_package(client, device, package, opened, activate=not staged, observer=observer)
            if pushed.was_installed:
                observer.say("it has this package already")
            return pushed.release

        give_orders(control, work, show=lambda device, release: _show(device, release, staged=staged))


def _make_progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), DownloadColumn(), _Speed())
    return Progress(*columns, console=progress_console)


class _Speed(TransferSpeedColumn):
    """Bytes per second once two readings tell them; a package that fits in one chunk has no speed."""

    def render(self, task: Task) -> Text:
        return Text("") if task.speed is None and task.finished_speed is None else super().render(task)


class _Shown:
    """A bar for the bytes and a line for each stage, on standard error; nothing without a `Progress`."""

    def __init__(self, device: str, progress: Progress | None) -> None:
        self._device = device
        self._progress = progress
        self._task = progress.add_task(device, total=None) if progress else None

    def sent(self, done: int, total: int) -> None:
        """The device has so many of so many bytes."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def progressed(self, progress: CommandProgress) -> None:
        """The device has come to a stage."""
        self.say(f"{progress.stage}: {progress.detail}")

    def say(self, text: str) -> None:
        """One line."""
        if self._progress is not None:
            self._progress.console.print(f"{self._device}  {text}", markup=False, soft_wrap=True)


def _show(device: str, release: InstalledRelease, *, staged: bool) -> None:
    where = "is staged on" if staged else "is active on"
    plan = release.plan
    click.echo(
        f"{release.model} {release.version} release {release.release} {where} {device}: {release.variant}, "
        f"{plan.instances} x {plan.threads} threads, p99 {plan.p99_ms:.2f} ms"
    )
