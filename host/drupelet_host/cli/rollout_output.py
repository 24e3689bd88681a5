"""What `drupelet rollout` prints: the plan, the progress, the end and the history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from drupelet_host.cli.output import console
from drupelet_host.fleet.printable import printable

if TYPE_CHECKING:
    from drupelet_host.rollout.records import SignatureState
    from drupelet_host.rollout.state import RolloutState
    from drupelet_shared.contract.rollouts import RolloutRecord

_NAMES_SHOWN = 3
_FAILURES_SHOWN = 20
_DONE = frozenset({"healthy", "failed", "offline"})


def plan_document(state: RolloutState, *, online: Iterable[str]) -> dict[str, Any]:
    """Return the plan as JSON values.

    Args:
        state: The planned roll-out.
        online: The devices that are online.
    """
    from drupelet_host.rollout.gate import parse_gate  # noqa: PLC0415 - `drupelet --help` does without

    reachable = set(online)
    starts = [0, *(wave.until for wave in state.waves)]
    return {
        "model": state.spec.model,
        "target": state.spec.target.model_dump(mode="json", exclude_none=True, exclude={"source"}),
        "devices": len(state.order),
        "up_to_date": state.up_to_date,
        "offline": [name for name in state.order if name not in reachable],
        "gate": str(parse_gate(state.spec.gate)),
        "healthy_for_s": state.spec.healthy_for_s,
        "waves": [
            {"number": wave.number, "until": wave.until, "devices": state.order[start : wave.until]}
            for start, wave in zip(starts, state.waves, strict=False)
        ],
    }


def print_plan(plan: dict[str, Any]) -> None:
    """Print a plan for people."""
    target = plan["target"]
    click.echo(f"{plan['model']} {target.get('version') or target.get('digest')}: {_devices(plan['devices'])}")
    if plan["up_to_date"]:
        click.echo(f"{_devices(plan['up_to_date'])} of the selection run it already")
    if plan["offline"]:
        verb = "is" if len(plan["offline"]) == 1 else "are"
        click.echo(f"{_devices(len(plan['offline']))} {verb} offline now: {_names(plan['offline'])}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("wave", "devices", "in all", "first"):
        table.add_column(heading)
    for wave in plan["waves"]:
        names = wave["devices"]
        table.add_row(str(wave["number"]), str(len(names)), str(wave["until"]), Text(_names(names)))
    console.print(table)
    click.echo(f"a wave passes when each device has been healthy for {plan['healthy_for_s']:g} s, and {plan['gate']}")
    click.echo("nothing was written")


class ProgressLines:
    """Prints a line whenever a wave begins or ends, and follows its devices on a terminal."""

    def __init__(self, update: Any) -> None:  # noqa: ANN401 - a function that takes the line
        """Make it.

        Args:
            update: Shows the current line, which is replaced by the next.
        """
        self._update = update
        self._shown: dict[int, str] = {}

    def show(self, state: RolloutState) -> None:
        """Show the progress of a roll-out."""
        for wave in state.waves:
            if wave.phase != self._shown.get(wave.number, "waiting"):
                self._shown[wave.number] = wave.phase
                results = f": {'; '.join(wave.results)}" if wave.results else ""
                click.echo(f"wave {wave.number} {wave.phase.replace('_', ' ')}{results}", err=True)
        self._update(describe_progress(state))


def describe_progress(state: RolloutState) -> str:
    """Describe how far a roll-out is, in one line."""
    wave = state.current_wave
    if state.phase == "baseline":
        return "collecting telemetry to compare with"
    if wave is None:
        return "all waves have passed"
    phases = [entry.phase for entry in state.of_wave(wave.number).values()]
    done = sum(phase in _DONE for phase in phases)
    parts = [f"wave {wave.number}", f"{done} of {len(phases)} done"]
    parts += [
        f"{phases.count(phase)} {phase.replace('_', ' ')}"
        for phase in ("pending", "delivering", "soaking", "failed", "offline", "rolled_back", "kept")
        if phase in phases
    ]
    return ", ".join(parts)


def end_document(state: RolloutState, record: RolloutRecord) -> dict[str, Any]:
    """Return the end of a roll-out as JSON values."""
    troubled = ("failed", "offline", "kept", "rollback_pending", "rolled_back")
    return {
        "record": record.model_dump(mode="json", exclude_none=True),
        "devices": {
            name: {"phase": entry.phase, "wave": entry.wave, "code": entry.code, "error": entry.error}
            for name, entry in sorted(state.devices.items())
            if entry.phase in troubled
        },
        "later": state.later,
        "skipped": state.skipped,
    }


def print_end(state: RolloutState) -> None:
    """Print the end of a roll-out for people."""
    troubled = [(name, entry) for name, entry in sorted(state.devices.items()) if entry.error is not None]
    for name, entry in troubled[:_FAILURES_SHOWN]:
        code = f" [{entry.code}]" if entry.code else ""
        click.echo(f"  {name}: {printable(entry.error or '')}{code}, {entry.phase.replace('_', ' ')}", err=True)
    if len(troubled) > _FAILURES_SHOWN:
        click.echo(f"  and {len(troubled) - _FAILURES_SHOWN} more", err=True)
    if state.later:
        click.echo(f"{_devices(len(state.later))} were offline and get it when they return: {_names(state.later)}")
    if state.skipped:
        click.echo(f"{_devices(len(state.skipped))} were offline and were skipped: {_names(state.skipped)}")
    phases = [entry.phase for entry in state.devices.values()]
    version = state.spec.target.version or state.spec.target.digest
    click.echo(
        f"{state.spec.model} {version}: roll-out {state.id} {state.phase.replace('_', ' ')}, "
        f"{phases.count('healthy')} of {_devices(len(state.order))} healthy"
    )
    if state.reason is not None:
        click.echo(f"  {printable(state.reason)}", err=True)
    if state.phase != "completed":
        click.echo(f"go on with: drupelet rollout --resume {state.id}", err=True)


def print_history(records: Sequence[tuple[RolloutRecord, SignatureState, str | None]]) -> None:
    """Print the records of roll-outs, the oldest first."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("roll-out", "model", "version", "state", "devices", "by", "signature"):
        table.add_column(heading)
    for record, signature, key in records:
        healthy = sum(wave.healthy for wave in record.waves)
        signed = signature if key is None else f"{signature}, key {key[:12]}"
        cells = (
            record.id,
            record.model,
            record.version or (record.digest or "")[:12],
            record.phase.replace("_", " "),
            f"{healthy} of {record.devices}",
            printable(record.by),
            signed,
        )
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def _devices(count: int) -> str:
    return f"{count} device{'' if count == 1 else 's'}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
