"""What tests look at after a compile."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from drupelet import compile_recipe
from drupelet_host.compiler.state import CompileState
from drupelet_host.recipe.schema import Recipe
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.package.golden import check_golden, load_golden
from drupelet_shared.package.manifest import Manifest
from drupelet_shared.package.reading import UnpackedPackage, unpack_package
from fakes.observer import RecordingObserver

_TAKEN = " was done before with the same input: taken from the cache"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compile that is over; the package was verified as an agent does it."""

    state: CompileState
    observer: RecordingObserver
    package: UnpackedPackage

    @property
    def manifest(self) -> Manifest:
        return self.package.manifest

    @property
    def taken(self) -> list[str]:
        """The passes that the cache had."""
        return [line.removesuffix(_TAKEN) for line in self.observer.decisions if line.endswith(_TAKEN)]

    @property
    def repeated(self) -> list[str]:
        return [name for name in self.observer.finished if name not in self.taken]

    def digests(self) -> dict[str, str]:
        """Return the digest of every variant's model file, those left out of the package included; needs a cache."""
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in self.state.artifacts.items()}

    def packed_digests(self) -> dict[str, str]:
        """Return the digest of the model file of every variant in the package."""
        digests = {entry.path: entry.sha256 for entry in self.manifest.files}
        return {variant.id: digests[variant.path] for variant in self.manifest.variants}


def compile_and_verify(recipe: Recipe, folder: Path, *, cache: Path | None = None) -> Compiled:
    """Compile, unpack and verify; each variant gives the golden answers that the package holds."""
    observer = RecordingObserver()
    state = compile_recipe(recipe, observer=observer, cache=cache)
    assert state.package is not None
    compiled = Compiled(state, observer, unpack_package(state.package, folder, trusted_keys=None))
    check_variants(compiled.package)
    return compiled


def check_variants(package: UnpackedPackage) -> None:
    """Load each variant in its engine, as a device does, and check its signature and its golden answers."""
    assert package.manifest.variants
    for variant in package.manifest.variants:
        session = load_engine(variant.engine).load(package.folder / variant.path, threads=1)
        assert session.inputs == package.manifest.inputs
        assert session.outputs == package.manifest.outputs
        golden = load_golden(package.folder / variant.golden.path)
        assert golden.samples == variant.golden.samples > 0
        assert check_golden(session, golden, tolerance=variant.golden.tolerance) == 0.0
