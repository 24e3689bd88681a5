"""Puts the agent on a whole emulated machine, breaks what can break on a device, and looks at what is left.

Exit status: 0 all is as it must be, 1 a check failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from drupelet_host.errors import RemoteError, ReplyTimeoutError
from emulated.machine.faults import (
    a_hanging_agent_is_started_again,
    a_killed_worker_comes_back,
    a_model_for_ncnn_alone_answers,
    a_pushed_model_answers,
)
from emulated.machine.installing import (
    a_second_installation_changes_nothing,
    boots_under_systemd,
    installs_from_the_wheelhouse,
    the_unit_starts,
)
from emulated.machine.lab import UNIT, CheckError, Lab, open_lab
from emulated.machine.memory import (
    the_kernel_ends_a_worker_beyond_the_units_limit,
    without_the_kernels_limits_the_agents_own_hold,
)
from emulated.machine.power import a_power_cut_leaves_one_whole_release
from emulated.machine.report import Report, Row
from emulated.machine.shell import CommandError
from emulated.machine.updating import (
    a_release_that_fails_in_service_is_rolled_back,
    an_agent_that_does_not_start_is_rolled_back,
)
from emulated.machine.wheelhouse import make_wheelhouse

Check = Callable[[Lab], str]

_ROOT = Path(__file__).resolve().parents[3]
_PREPARE = _ROOT / "deploy/emulator/prepare-machine"
_EXIT_ENDED = 128 + signal.SIGTERM
# Each needs those before it.
_SETTING_UP: tuple[Check, ...] = (
    boots_under_systemd,
    installs_from_the_wheelhouse,
    a_second_installation_changes_nothing,
    the_unit_starts,
    a_pushed_model_answers,
)
# Those that need another boot come last.
_FAULTS: tuple[Check, ...] = (
    # The worker that is killed next is this model's.
    a_model_for_ncnn_alone_answers,
    a_killed_worker_comes_back,
    a_hanging_agent_is_started_again,
    a_release_that_fails_in_service_is_rolled_back,
    an_agent_that_does_not_start_is_rolled_back,
    the_kernel_ends_a_worker_beyond_the_units_limit,
    a_power_cut_leaves_one_whole_release,
    without_the_kernels_limits_the_agents_own_hold,
)


def main() -> int:
    """Run the checks."""
    arguments = _parser().parse_args()
    # The machine ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_EXIT_ENDED))
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    subprocess.run([_PREPARE, arguments.machine], stdout=sys.stderr, check=True)
    report = Report(work / "result.json")
    with open_lab(arguments.machine.resolve(), work=work) as lab:
        if arguments.resume and lab.machine.disk.is_file():
            report.load()
            lab.boot()
            if (work / "installed").is_file():
                lab.configure()
        else:
            (work / "installed").unlink(missing_ok=True)
            print(make_wheelhouse(work / "wheelhouse"), flush=True)
            lab.machine.renew_disk()
        _run_checks(lab, report)
    print(f"\n{report.table()}\n\n{time.monotonic() - start:.0f} s in all, on this host")
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="emulated.machine",
        description=__doc__,
        epilog="Example: python -m emulated.machine --resume",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    machine, work = _ROOT / ".venv/emulator/machine", _ROOT / ".bench/emulator"
    parser.add_argument(
        "--machine", type=Path, default=machine, help="what prepare-machine makes (default: %(default)s)"
    )
    parser.add_argument("--work", type=Path, default=work, help="disk, console, result.json (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with the last run's disk after what succeeded")
    return parser


def _run_checks(lab: Lab, report: Report) -> None:
    for check in (*_SETTING_UP, *_FAULTS):
        done = report.rows.get(check.__name__)
        if done is not None and done.ok:
            continue
        row = _run(check, lab)
        report.add(row)
        if check is the_unit_starts and row.ok:
            (lab.work / "installed").touch()
        if not row.ok and check in _SETTING_UP:
            return


def _run(check: Check, lab: Lab) -> Row:
    start = time.monotonic()
    try:
        ok, seen = True, check(lab)
    except (CheckError, CommandError, RemoteError, ReplyTimeoutError) as error:
        ok, seen = False, str(error)
        _keep_journal(lab, check.__name__)
    return Row(name=check.__name__, ok=ok, seen=seen, seconds=round(time.monotonic() - start, 1))


def _keep_journal(lab: Lab, name: str) -> None:
    with suppress(CommandError):
        journal = lab.shell.run(
            f"journalctl -b --no-pager -o short-monotonic -u {UNIT} -n 200; systemctl status {UNIT}"
        )
        (lab.work / f"{name}-{os.getpid()}.log").write_text(journal, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
