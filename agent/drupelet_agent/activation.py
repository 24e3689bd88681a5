"""From a package file to an active release: verify, check, measure, activate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drupelet_agent.config import AgentConfig
from drupelet_agent.errors import StoreError
from drupelet_agent.resources import planner, probe, tuner
from drupelet_agent.resources.planner import Measurement, Rejection
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from drupelet_shared.package import UnpackedPackage, unpack_package
from drupelet_shared.trust import load_trust_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """What an installation has come to: "verified", "measured" a candidate, or "active"."""

    stage: str
    detail: str


def install(archive: Path, config: AgentConfig, *, observe: Callable[[Progress], None]) -> Activation:
    """Install a package and make it the active release of its model.

    Until the last step nothing that serves is touched, and on any error nothing stays behind.

    Args:
        archive: The `.drupe` file.
        config: The agent's configuration.
        observe: Told of each stage.

    Raises:
        PackageError: The package is refused.
        StoreError: The store is busy or damaged, or the release is too old.
        PlanError: No variant runs, or none fits in the memory budget.
    """
    store = Store(config.state_dir)
    with store.lock(), store.staging_folder() as folder:
        package = _verify(archive, folder / "package", config, store)
        manifest = package.manifest
        observe(Progress("verified", f"{manifest.name} {manifest.version} release {manifest.release}"))
        store.check_release(manifest.name, release=manifest.release, digest=package.digest)
        activation = _plan(package, folder / "package", config, store, observe=observe)
        try:
            store.commit(folder / "package", package.digest)
            store.activate(activation)
            store.collect()
        except OSError as error:
            raise StoreError(f"store {config.state_dir}: {error.strerror}: {error.filename}") from error
    observe(Progress("active", f"{activation.variant} on {activation.plan.threads} threads"))
    return activation


def _verify(archive: Path, folder: Path, config: AgentConfig, store: Store) -> UnpackedPackage:
    trusted = None if config.trust.allow_unsigned else load_trust_folder(config.trust.folder)
    if trusted is None:
        log.warning("signatures are NOT checked: trust.allow_unsigned is set package=%s", archive)
    return unpack_package(archive, folder, trusted_keys=trusted, room_bytes=store.free_bytes())


def _plan(
    package: UnpackedPackage, folder: Path, config: AgentConfig, store: Store, *, observe: Callable[[Progress], None]
) -> Activation:
    manifest = package.manifest
    snapshot = probe.take_snapshot()
    others = [active for model, active in store.active().items() if model != manifest.name]
    budget = planner.memory_budget(
        snapshot,
        limit_bytes=config.limits.memory,
        share=config.limits.memory_share,
        in_use_bytes=sum(active.plan.footprint_bytes for active in others),
    )
    cores = min(snapshot.cores, config.limits.cpu_cores or snapshot.cores)
    threads = planner.thread_counts(cores, configured=config.tuning.threads)
    tried, rejected = planner.candidates(manifest.variants, threads=threads, budget=budget)
    results = tuner.measure(
        folder, tried, budget=budget, config=config.tuning, observe=lambda result: observe(_progress(result))
    )
    measurements = [result for result in results if isinstance(result, Measurement)]
    rejections = [*rejected, *(result for result in results if isinstance(result, Rejection))]
    chosen = planner.choose(measurements, rejections, budget=budget)
    return Activation(
        model=manifest.name,
        version=manifest.version,
        release=manifest.release,
        digest=package.digest,
        signed_by=package.signed_by,
        variant=chosen.candidate.variant.id,
        plan=planner.to_plan(chosen, measurements, budget=budget),
        inputs=manifest.inputs,
        outputs=manifest.outputs,
    )


def _progress(result: tuner.Result) -> Progress:
    what = f"{result.candidate.variant.id} on {result.candidate.threads} threads"
    if isinstance(result, Rejection):
        return Progress("measured", f"{what}: {result.reason}")
    timing = result.timing
    return Progress("measured", f"{what}: p50 {timing.p50_ms:.2f} ms, p99 {timing.p99_ms:.2f} ms")
