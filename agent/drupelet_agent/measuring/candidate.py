"""A compiler's candidate: unpacked and checked like a package, measured beside what is served, and removed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.device import probe
from drupelet_agent.device.board import read_board
from drupelet_agent.errors import MemoryBudgetError
from drupelet_agent.install.activation import Observe, Progress, verify_package
from drupelet_agent.install.binding import check_target
from drupelet_agent.install.planning import means_for
from drupelet_agent.install.profiling import record_operators
from drupelet_agent.install.time_limit import TimeLimit
from drupelet_agent.measuring.gate import ServingGate
from drupelet_agent.measuring.quiet import QuietTime
from drupelet_agent.measuring.turns import TurnTaker
from drupelet_agent.planning.budget import Budget
from drupelet_agent.store.store import Store
from drupelet_shared.contract.measuring import CandidateTiming, MeasureReport, MeasureRequest
from drupelet_shared.errors import CommandFailedError, MeasuringForbiddenError, ProfilingUnavailableError
from drupelet_shared.package.reading import UnpackedPackage

_PROFILED_RUNS = 30
# Another host's candidates, each of which may take its minutes.
_LANE_TIMEOUT_S = 600.0

OpenArchive = Callable[[], AbstractContextManager[Path]]


def measure(
    request: MeasureRequest, config: AgentConfig, *, open_archive: OpenArchive, gate: ServingGate, observe: Observe
) -> MeasureReport:
    """Time the variants of a package in turns; nothing of it stays, whatever happens.

    Args:
        request: How to measure.
        config: The agent's configuration.
        open_archive: Provides the package file, which is removed as soon as it is unpacked.
        gate: What is served meanwhile.
        observe: Called at each stage, and once a second while measuring or waiting.

    Returns:
        The times of each variant, and the state of the board.

    Raises:
        MeasuringForbiddenError: The configuration does not allow it.
        PackageError: The package is refused, as for an installation.
        WrongPackageError: It targets another device.
        StoreError: Another candidate is being measured, or the file system fails.
        MeasuringPausedError: The device was never quiet for long enough.
    """
    if not config.trust.measure:
        raise MeasuringForbiddenError(
            "command measure: this device measures no candidates: set trust.measure = true in its configuration"
        )
    store = Store(config.state_dir)
    with store.candidate_folder(timeout_s=_LANE_TIMEOUT_S) as folder:
        with open_archive() as archive:
            package = verify_package(archive, folder / "package", config, store)
        observe(Progress("verified", f"{package.manifest.name} {package.manifest.version}, {_signer(package)}"))
        check_target(package.manifest, board=probe.board(), configured=config.trust.targets)
        quiet = QuietTime(
            gate,
            is_throttled=probe.is_throttled,
            is_measuring=store.is_measuring,
            max_wait_s=request.max_wait_s,
            observe=lambda detail: observe(Progress("waiting", detail)),
        )
        budget = means_for(package.manifest.name, package.digest, config=config, store=store).budget
        turns = TurnTaker(
            package.folder,
            request=request,
            budget=budget,
            quiet=quiet,
            observe=lambda detail: observe(Progress("measuring", detail)),
        )
        timings = turns.measure(package.manifest.variants)
        if request.layers:
            limit = TimeLimit(config.tuning.total_seconds)
            timings = _add_operators(timings, turns, folder, budget=budget, limit=limit, observe=observe)
    return _report(request, timings, quiet, measured_s=turns.measured_s)


def _add_operators(
    timings: Sequence[CandidateTiming],
    turns: TurnTaker,
    folder: Path,
    *,
    budget: Budget,
    limit: TimeLimit,
    observe: Observe,
) -> list[CandidateTiming]:
    complete = []
    for timing in timings:
        operators = None
        if timing.error is None:
            observe(Progress("profiling", timing.variant))
            work = folder / f"profile-{timing.variant}"
            work.mkdir()
            spec = turns.spec(timing.variant, memory_bytes=budget.limit_bytes)
            # An engine without a profiler, or a model that recording alone makes too large: its times are known.
            with contextlib.suppress(ProfilingUnavailableError, CommandFailedError, MemoryBudgetError):
                recorded = record_operators(spec, work, runs=_PROFILED_RUNS, max_seconds=turns.max_seconds, limit=limit)
                operators = recorded.operators
        complete.append(timing.model_copy(update={"operators": operators}))
    return complete


def _report(
    request: MeasureRequest, timings: Sequence[CandidateTiming], quiet: QuietTime, *, measured_s: float
) -> MeasureReport:
    snapshot = probe.take_snapshot()
    return MeasureReport(
        board=snapshot.cpu_model,
        threads=request.threads,
        variants=tuple(timings),
        measured_s=round(measured_s, 3),
        waited_s=round(quiet.waited_s, 3),
        waits={reason: round(seconds, 3) for reason, seconds in quiet.waits_s.items()},
        temperature_celsius=snapshot.temperature_celsius,
        throttled=snapshot.throttled,
        throttling=read_board().throttling,
    )


def _signer(package: UnpackedPackage) -> str:
    return f"signed by {package.signed_by[:12]}" if package.signed_by else "signature NOT checked"
