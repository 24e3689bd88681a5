"""From a package file to an active release: verify, check, measure, activate; and to another plan later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.device import probe
from drupelet_agent.errors import StoreError
from drupelet_agent.install.binding import ANYTHING, Expected, check_expected, check_installable, check_target
from drupelet_agent.install.planning import make_plan, means_for
from drupelet_agent.store.measurements import KeptMeasurements
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from drupelet_agent.store.writer import StoreWriter
from drupelet_shared.contract.commands import Stage
from drupelet_shared.package.manifest import MANIFEST_PATH, Manifest, parse_manifest
from drupelet_shared.package.reading import UnpackedPackage, unpack_package
from drupelet_shared.package.trust import load_trust_folder

log = logging.getLogger(__name__)

# Enough for the last step of another process: a rename and two syncs to an SD card.
WRITER_TIMEOUT_S = 10.0
# Enough for another process to measure the variants of a package.
MEASURING_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an installation; each candidate has one "measured".

    Attributes:
        stage: The stage that was reached.
        detail: A description for people.
        done_bytes: Bytes fetched, for the stage "fetching".
        total_bytes: Bytes in total, where known.
    """

    stage: Stage
    detail: str
    done_bytes: int | None = None
    total_bytes: int | None = None


Observe = Callable[[Progress], None]


def install(
    archive: Path,
    config: AgentConfig,
    *,
    observe: Observe,
    expected: Expected = ANYTHING,
    activate: bool = True,
    why: str = "asked for",
) -> Activation:
    """Install a package and make it the active release of its model.

    Until the last step the active release is unchanged, and after an error nothing is left in the store.

    Args:
        archive: The `.drupe` file.
        config: The agent's configuration.
        observe: Receives each stage.
        expected: The package that was requested.
        activate: False leaves the package installed beside the active release.
        why: The reason, for the record of changes.

    Returns:
        The activation: the release and its plan.

    Raises:
        PackageError: The package is refused.
        StoreError: The store is busy or damaged, or the release is too old.
        PlanError: No variant runs, fits in the memory budget or keeps the contract.
    """
    store = Store(config.state_dir)
    with (
        store.writer() as writer,
        store.measuring(timeout_s=MEASURING_TIMEOUT_S),
        writer.staging_folder() as folder,
    ):
        package = verify_package(archive, folder / "package", config, store)
        manifest = package.manifest
        signed = f"signed by {package.signed_by[:12]}" if package.signed_by else "signature NOT checked"
        observe(Progress("verified", f"{manifest.name} {manifest.version} release {manifest.release}, {signed}"))
        check_target(manifest, board=probe.board(), configured=config.trust.targets)
        check_installable(manifest)
        check_expected(manifest, package.digest, expected)
        store.check_release(manifest.name, release=manifest.release, digest=package.digest)
        planned = make_plan(
            manifest,
            folder / "package",
            means=means_for(manifest.name, package.digest, config=config, store=store),
            known=store.measurements(package.digest),
            fresh=False,
            observe=lambda stage, detail: observe(Progress(stage, detail)),
        )
        activation = Activation(
            model=manifest.name,
            version=manifest.version,
            release=manifest.release,
            digest=package.digest,
            signed_by=package.signed_by,
            variant=planned.variant,
            plan=planned.plan,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
        )
        observe(Progress("tuned", _describe(activation)))
        put_in_place(writer, folder / "package", activation, planned.measurements, activate=activate, why=why)
    observe(Progress("active" if activate else "staged", f"{activation.model} release {activation.release}"))
    return activation


def put_in_place(
    writer: StoreWriter,
    package: Path,
    activation: Activation,
    measurements: KeptMeasurements,
    *,
    activate: bool,
    why: str,
) -> None:
    """Take the last steps of an installation, each of which leaves the store whole: commit, record, collect.

    Args:
        writer: The store, open for changes.
        package: The checked package in a staging folder.
        activation: The release with its plan.
        measurements: The measurements that led to the plan.
        activate: Whether the release becomes active; otherwise it is staged.
        why: The reason, for the record of changes.

    Raises:
        StoreError: The file system fails, is full or read-only; the active release stays.
    """
    writer.commit(package, activation.digest)
    writer.keep_measurements(activation.digest, measurements)
    if activate:
        writer.activate(activation, why=why)
    else:
        writer.stage(activation)
    writer.collect()


def tune(model: str, config: AgentConfig, *, why: str, fresh: bool, observe: Observe) -> Activation:
    """Measure the active release of a model again and give it the plan that follows.

    The store stays free for others until the last step.

    Args:
        model: The model.
        config: The agent's configuration.
        why: The reason, for the record of changes.
        fresh: Measure again what is known under the present conditions.
        observe: Receives each stage.

    Returns:
        The activation with the new plan.

    Raises:
        StoreError: The model is not installed, another process measures, or another package became active meanwhile.
        PlanError: No variant runs, fits in the memory budget or keeps the contract; the old plan stays.
    """
    store = Store(config.state_dir)
    active = store.require_active(model)
    folder = store.package_folder(active.digest)
    with store.measuring(timeout_s=MEASURING_TIMEOUT_S):
        planned = make_plan(
            stored_manifest(folder),
            folder,
            means=means_for(model, active.digest, config=config, store=store),
            known=store.measurements(active.digest),
            fresh=fresh,
            observe=lambda stage, detail: observe(Progress(stage, detail)),
        )
    activation = active.model_copy(update={"variant": planned.variant, "plan": planned.plan})
    observe(Progress("tuned", _describe(activation)))
    with store.writer(timeout_s=WRITER_TIMEOUT_S) as writer:
        writer.retune(activation, why=why, measurements=planned.measurements)
    observe(Progress("active", f"{activation.model} release {activation.release}"))
    return activation


def stored_manifest(folder: Path) -> Manifest:
    """Return the manifest of a package in the store.

    Raises:
        StoreError: The manifest cannot be read.
    """
    try:
        return parse_manifest((folder / MANIFEST_PATH).read_bytes())
    except OSError as error:
        raise StoreError(f"store package {folder.name}: {error.strerror}: {error.filename}") from error


def verify_package(archive: Path, folder: Path, config: AgentConfig, store: Store) -> UnpackedPackage:
    """Check a package and extract it, by the rules that the configuration states for signatures.

    Args:
        archive: The `.drupe` file.
        folder: The destination.
        config: The agent's configuration.
        store: The store whose free space bounds what is extracted.

    Returns:
        The extracted package.

    Raises:
        PackageError: The package is refused.
    """
    trusted = None if config.trust.allow_unsigned else load_trust_folder(config.trust.folder)
    if trusted is None:
        log.warning("signatures are NOT checked: trust.allow_unsigned is set package=%s", archive)
    return unpack_package(archive, folder, trusted_keys=trusted, room_bytes=store.free_bytes())


def _describe(activation: Activation) -> str:
    plan = activation.plan
    what = f"{activation.variant} on {plan.threads} threads"
    return what if plan.instances == 1 else f"{plan.instances} instances of {what}"
