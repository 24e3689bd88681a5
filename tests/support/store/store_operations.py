"""Every operation that changes a store, by name, and what must hold of the store whenever one was cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from drupelet_agent.config.packages import DeliveryConfig
from drupelet_agent.delivery.spool import Spool
from drupelet_agent.install.activation import put_in_place
from drupelet_agent.store.measurements import KeptMeasurements
from drupelet_agent.store.records import Activation
from drupelet_agent.store.store import Store
from drupelet_shared.package.reading import UnpackedPackage, read_package_folder, unpack_package
from support.agent.values import make_activation

MODEL = "digits"
_VARIANT = "ort-fp32"
_UPLOAD = "3" * 64


@dataclass(frozen=True)
class Operation:
    """A change of a store.

    Attributes:
        before: What has happened to the store before, as names of operations.
        run: The change.
        active: The release that is active afterwards; None if none is.
        leaves: Files that are there afterwards, by their path in the store.
    """

    before: tuple[str, ...]
    run: Callable[[Store], object]
    active: int | None
    leaves: Mapping[str, bytes] | None = None


class Operations:
    """The operations on the packages of a folder, `digits-1.0.0.drupe` and on."""

    def __init__(self, packages: Path) -> None:
        self._packages = packages
        self._upload = (packages / f"{MODEL}-3.0.0.drupe").read_bytes()
        steps = ("install 1", "install 2")
        self.by_name: Mapping[str, Operation] = {
            "install 1": Operation((), lambda store: self.install(store, 1), 1),
            "install 2": Operation(steps[:1], lambda store: self.install(store, 2), 2),
            "install 3, which collects 1": Operation(steps, lambda store: self.install(store, 3), 3),
            "install 2 again": Operation(steps, lambda store: self.install(store, 2), 2),
            "stage 3": Operation(steps, lambda store: self.install(store, 3, activate=False), 2),
            "activate 3": Operation((*steps, "stage 3"), self._activate, 3),
            "roll back": Operation(steps, self._roll_back, 1),
            "activate 2 after the roll back": Operation((*steps, "roll back"), self._activate, 2),
            "tune": Operation(steps, self._tune, 2),
            "remove": Operation(steps, self._remove, None),
            "install 2 after the removal": Operation((*steps, "remove"), lambda store: self.install(store, 2), 2),
            "receive 3": Operation(steps, self._receive, 2, {f"incoming/{_UPLOAD}.drupe": self._upload}),
        }

    def make(self, root: Path, name: str) -> Store:
        """Return a store to which everything before an operation has happened."""
        store = Store(root)
        store.create()
        for step in self.by_name[name].before:
            self.by_name[step].run(store)
        return store

    def install(self, store: Store, release: int, *, activate: bool = True) -> None:
        """What an installation does to the store; measuring writes nothing there."""
        archive = self._packages / f"{MODEL}-{release}.0.0.drupe"
        with store.writer() as writer, store.measuring(timeout_s=0.0), writer.staging_folder() as folder:
            package = unpack_package(archive, folder / "package", trusted_keys=None, room_bytes=store.free_bytes())
            store.check_release(MODEL, release=release, digest=package.digest)
            put_in_place(
                writer,
                folder / "package",
                make_activation(MODEL, release=release, digest=package.digest, variant=_VARIANT),
                KeptMeasurements(by_conditions={"test": ()}),
                activate=activate,
                why="test",
            )

    def _activate(self, store: Store) -> None:
        with store.writer() as writer:
            writer.activate_installed(MODEL, release=None)

    def _roll_back(self, store: Store) -> None:
        with store.writer() as writer:
            writer.roll_back(MODEL)

    def _tune(self, store: Store) -> None:
        with store.writer() as writer:
            writer.retune(store.require_active(MODEL), why="test")

    def _remove(self, store: Store) -> None:
        with store.writer() as writer:
            writer.remove(MODEL)
            writer.collect()

    def _receive(self, store: Store) -> None:
        content, spool = self._upload, Spool(store.layout.incoming, DeliveryConfig(reserve=1))
        for offset in range(0, len(content), 4096):
            spool.append(_UPLOAD, len(content), offset=offset, chunk=content[offset : offset + 4096])
        assert spool.whole(_UPLOAD).read_bytes() == content


def check_store(root: Path, *, allowed: set[int | None], releases: set[int]) -> int | None:
    """Return what must hold after any cut: one release that may be active is, whole, and so is everything it remembers.

    Args:
        root: The store, opened as if by a new process.
        allowed: The releases of which one must be active.
        releases: Those that may be remembered.

    Returns:
        The active release.

    Raises:
        AssertionError: It does not hold.
    """
    store = Store(root)
    store.create()
    with store.writer():
        pass
    record = store.record(MODEL)
    active = record.active.release if record.active else None
    assert active in allowed, f"release {active} is active, expected one of {allowed}"
    assert record.highest_release >= (active or 0)
    for known in record.releases:
        assert known.release in releases
        _check_package(store, known)
    leftovers = [
        path for folder in ("staging", "models") for path in (root / folder).iterdir() if path.suffix != ".json"
    ]
    assert leftovers == [], f"left behind: {leftovers}"
    with store.writer() as writer:
        writer.collect()
    kept = {path.name for path in (root / "packages").iterdir()}
    assert kept == {known.digest for known in record.releases}
    return active


def _check_package(store: Store, activation: Activation) -> None:
    package: UnpackedPackage = read_package_folder(store.package_folder(activation.digest), trusted_keys=None)
    assert package.digest == activation.digest
    assert package.manifest.release == activation.release
