"""`drupelet rollout`: a version to a fleet, wave by wave, stopped by its gate."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drupelet_host.cli.broker_options import BrokerCommand, broker_address, broker_options
from drupelet_host.cli.names import ModelName
from drupelet_host.cli.numbers import seconds
from drupelet_host.cli.output import explain_interruption, print_json, progress_console
from drupelet_host.cli.rollout_options import RolloutOptions, current_user, make_spec, rollout_options
from drupelet_host.cli.rollout_output import (
    ProgressLines,
    end_document,
    plan_document,
    print_end,
    print_history,
    print_plan,
)
from drupelet_shared.errors import InvalidValueError
from drupelet_shared.exit_codes import EXIT_STOPPED
from drupelet_shared.names import is_name

if TYPE_CHECKING:
    from drupelet_host.client.connection.address import BrokerAddress
    from drupelet_host.rollout.link import RolloutLink
    from drupelet_host.rollout.state import RolloutState
    from drupelet_shared.contract.rollouts import RolloutRecord

_BROKER_KEYS = ("password_file", "ca_file", "cert_file", "key_file")


@click.command(cls=BrokerCommand)
@click.argument("model", type=ModelName(), required=False)
@click.option("--plan", "is_plan", is_flag=True, help="Print what would be done, and write nothing.")
@click.option("--resume", metavar="ID", help="Go on with a roll-out that was interrupted, stopped or held.")
@click.option(
    "--history", is_flag=True, help="Print the roll-outs on the broker: what, by which user, when, the result."
)
@click.option(
    "--timeout",
    type=seconds(minimum=0.1),
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    help="Longest wait for the broker.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end.")
@rollout_options
@broker_options
def rollout(
    *,
    model: str | None,
    is_plan: bool,
    resume: str | None,
    history: bool,
    timeout: float,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - the values of the option groups, by their names
) -> None:
    """Give a version of MODEL to many devices in waves, and stop when a wave does not keep its gate.

    Each wave writes the desired state of its devices, and waits until each of them runs the version and has been
    healthy by its own telemetry. A wave that fails is rolled back. The state is kept in a file and on the broker, so
    that a roll-out that was interrupted goes on with --resume.

    Example: drupelet rollout digits --version 1.2.0 --source https://models.example/digits-1.2.0.drupe
    --waves 1,10%,50%,100% --gate "errors<1%, p99<1.2x" --plan

    Example: drupelet rollout --resume 20260301T120000-9f86d0
    """
    address = broker_address(given.pop("broker"), **{key: given.pop(key) for key in _BROKER_KEYS})
    prefix = given.pop("prefix")
    options = RolloutOptions(**given)
    if sum((model is not None, resume is not None, history)) != 1:
        raise click.UsageError("name one: a MODEL to roll out, --resume ID, or --history")
    if resume is not None and not is_name(resume):
        raise click.UsageError(f"--resume {resume!r}: expected the id of a roll-out, such as 20260301T120000-9f86d0")
    if history:
        _show_history(address, prefix=prefix, timeout_s=timeout, trust=options.trust, as_json=as_json)
        return
    # Imported here because they import pydantic models, which `drupelet --help` does without.
    from drupelet_host.rollout.link import RolloutLink  # noqa: PLC0415

    spec = make_spec(model, options) if model is not None else None
    subject = model or _model_of(address, prefix=prefix, timeout_s=timeout, rollout=resume or "", options=options)
    with RolloutLink(subject, broker=address, prefix=prefix, connect_timeout_s=timeout) as link:
        link.wait_until_known()
        if spec is not None:
            from drupelet_host.rollout.plan import make_rollout  # noqa: PLC0415 - as above

            now = datetime.now(UTC).replace(microsecond=0)
            state = link.read(lambda devices, _: make_rollout(spec, devices, by=current_user(), now=now))
        else:
            state = _reopen(resume or "", link, address, prefix=prefix, timeout_s=timeout, options=options)
        if is_plan:
            online = link.read(lambda devices, _: [name for name, device in devices.items() if device.is_online])
            plan = plan_document(state, online=online)
            print_json(plan) if as_json else print_plan(plan)
            return
        _run(state, link, options=options, as_json=as_json)
    if state.phase != "completed":
        sys.exit(EXIT_STOPPED)


def _run(state: RolloutState, link: RolloutLink, *, options: RolloutOptions, as_json: bool) -> None:
    from drupelet_host.packaging.keys import load_private_key  # noqa: PLC0415 - as above
    from drupelet_host.rollout.records import make_record  # noqa: PLC0415 - as above
    from drupelet_host.rollout.run import RolloutOutput, run_rollout  # noqa: PLC0415 - as above

    key = load_private_key(options.key) if options.key is not None else None
    path = _state_file(options, state.id)
    click.echo(f"roll-out {state.id}, state in {path}", err=True)
    kept = f"devices keep what they run. Go on with: drupelet rollout --resume {state.id}"
    with explain_interruption(lambda: kept), progress_console.status("") as status:
        lines = ProgressLines(status.update)
        run_rollout(state, link, RolloutOutput(path, key, lines.show))
    if as_json:
        record = make_record(state, now=datetime.now(UTC).replace(microsecond=0))
        print_json(end_document(state, record))
    else:
        print_end(state)


def _state_file(options: RolloutOptions, rollout: str) -> Path:
    return options.folder / f"{rollout}.json"


def _model_of(address: BrokerAddress, *, prefix: str, timeout_s: float, rollout: str, options: RolloutOptions) -> str:
    """Return the model of a roll-out that is resumed, from its file or from its record on the broker."""
    from drupelet_host.rollout.records import load_state  # noqa: PLC0415 - as above

    path = _state_file(options, rollout)
    if path.is_file():
        return load_state(path).spec.model
    return _read_record(rollout, address, prefix=prefix, timeout_s=timeout_s, options=options).model


def _read_record(
    rollout: str, address: BrokerAddress, *, prefix: str, timeout_s: float, options: RolloutOptions
) -> RolloutRecord:
    """Return the record of a roll-out on the broker, of which --trust demands a valid signature.

    Without it every account that may write there decides what a resumed roll-out gives to the fleet.
    """
    from drupelet_host.rollout.link import read_record, read_records  # noqa: PLC0415 - as above
    from drupelet_host.rollout.records import check_record  # noqa: PLC0415 - as above
    from drupelet_shared.package.trust import load_trust_folder  # noqa: PLC0415 - as above

    records = read_records(address, prefix=prefix, connect_timeout_s=timeout_s)
    signed = read_record(records[rollout]) if rollout in records else None
    if signed is None:
        known = ", ".join(list(records)[-3:]) or "none"
        raise InvalidValueError(
            f"roll-out {rollout}: neither {_state_file(options, rollout)} nor a record on broker {address}: "
            f"the latest there are {known}"
        )
    if signed.record.id != rollout:
        raise InvalidValueError(f"roll-out {rollout}: the record on broker {address} is that of {signed.record.id}")
    if options.trust is not None:
        signature, _ = check_record(records[rollout], load_trust_folder(options.trust))
        if signature != "valid":
            raise InvalidValueError(
                f"roll-out {rollout}: the signature of its record on broker {address} is {signature}: resume it on the "
                "host that started it, which has its file, or without --trust"
            )
    return signed.record


def _reopen(
    rollout: str,
    link: RolloutLink,
    address: BrokerAddress,
    *,
    prefix: str,
    timeout_s: float,
    options: RolloutOptions,
) -> RolloutState:
    from drupelet_host.rollout.plan import recover_rollout  # noqa: PLC0415 - as above
    from drupelet_host.rollout.records import load_state  # noqa: PLC0415 - as above

    path = _state_file(options, rollout)
    if path.is_file():
        state = load_state(path)
    else:
        record = _read_record(rollout, address, prefix=prefix, timeout_s=timeout_s, options=options)
        state = link.read(lambda devices, _: recover_rollout(record, devices, source=options.source))
    if state.phase == "completed":
        raise InvalidValueError(f"roll-out {rollout}: is completed: nothing is left to do")
    state.reopen()
    context = click.get_current_context()
    changed = {
        key: getattr(options, key)
        for key in ("gate", "idle", "healthy_for_s", "timeout_s", "parallel", "offline")
        if context.get_parameter_source(key) is click.core.ParameterSource.COMMANDLINE
    }
    if changed:
        state.spec = state.spec.model_validate({**state.spec.model_dump(), **changed})
    return state


def _show_history(address: BrokerAddress, *, prefix: str, timeout_s: float, trust: Path | None, as_json: bool) -> None:
    from drupelet_host.rollout.link import read_record, read_records  # noqa: PLC0415 - as above
    from drupelet_host.rollout.records import check_record  # noqa: PLC0415 - as above
    from drupelet_shared.package.trust import load_trust_folder  # noqa: PLC0415 - as above

    keys = load_trust_folder(trust) if trust is not None else None
    rows = []
    for payload in read_records(address, prefix=prefix, connect_timeout_s=timeout_s).values():
        signed = read_record(payload)
        if signed is not None:
            rows.append((signed.record, *check_record(payload, keys)))
    if as_json:
        print_json(
            [
                {**record.model_dump(mode="json", exclude_none=True), "signature": {"state": state, "key_id": key}}
                for record, state, key in rows
            ]
        )
    else:
        print_history(rows)
