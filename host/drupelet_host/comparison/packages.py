"""The comparison of two packages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

from drupelet_host.comparison.facts import Comparison, Fact, Facts, Side, Unit, make_comparison
from drupelet_host.estimation.model_files import estimate_variants
from drupelet_host.latency.modelled.table import load_table
from drupelet_host.packaging.signing import open_package
from drupelet_shared.errors import PackageError
from drupelet_shared.package.manifest import SIGNATURE_PATH, Manifest, Variant
from drupelet_shared.package.reading import UnpackedPackage
from drupelet_shared.package.signature import key_hint
from drupelet_shared.tensors import TensorSpec

_CONSTRAINTS = "constraints"
_UNITS: dict[str, Unit] = {"max_size": "bytes", "memory_limit": "bytes"}
_OTHER_MACHINES = (
    "Latency was measured on different machines ({before}; {after}): its differences say nothing about the packages."
)
_SAME_MODELS = (
    "The models of both packages are the same files (digest of all: {digest}); what differs was measured or stated, "
    "such as times."
)
# Files that differ whenever two packages were made at different times, or whose variants are compared by themselves.
_NOT_COMPARED = ("golden/", "variants/", "report.")
Item = tuple[tuple[str, str], Fact]


def compare_packages(before: Path, after: Path) -> Comparison:
    """Compare two packages, packed or unpacked; files are checked against their digests, signatures are not checked.

    Raises:
        PackageError: A package is invalid.
    """
    with _open(before) as package:
        first, first_machines = _read_side(before, package), _machines(package.manifest)
        first_models = _digest_models(package.manifest)
    with _open(after) as package:
        second, second_machines = _read_side(after, package), _machines(package.manifest)
        second_models = _digest_models(package.manifest)
    notes: tuple[str, ...] = ()
    comparison = make_comparison(first, second)
    if first_models == second_models and not comparison.same:
        notes = (_SAME_MODELS.format(digest=first_models[:12]),)
    if first_machines != second_machines:
        texts = {"before": ", ".join(first_machines), "after": ", ".join(second_machines)}
        notes = (*notes, _OTHER_MACHINES.format(**texts))
    return comparison.model_copy(update={"notes": notes})


def _digest_models(manifest: Manifest) -> str:
    """Return a digest of the files of all variants in whatever order: what a compile with the same seed makes again."""
    digests = {entry.path: entry.sha256 for entry in manifest.files}
    lines = sorted(f"{variant.id} {digests[path]}" for variant in manifest.variants for path in variant.files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@contextmanager
def _open(path: Path) -> Iterator[UnpackedPackage]:
    try:
        with open_package(path, trusted_keys=None) as package:
            yield package
    except PackageError as error:
        # Which of the two it is.
        raise type(error)(f"{path}: {error}") from error


def _read_side(path: Path, package: UnpackedPackage) -> tuple[Side, Facts]:
    manifest = package.manifest
    side = Side(place=str(path), name=manifest.name, version=manifest.version, release=manifest.release)
    return side, dict(_facts(package))


def _facts(package: UnpackedPackage) -> Iterator[Item]:
    manifest = package.manifest
    yield from _identity(package)
    yield from _tensors("inputs", manifest.inputs)
    yield from _tensors("outputs", manifest.outputs)
    for section, model in (("preprocessing", manifest.preprocessing), ("postprocessing", manifest.postprocessing)):
        if model is not None:
            yield from _members(section, model.model_dump(mode="json"))
    yield ("variants", "order, best first"), Fact(value=", ".join(variant.id for variant in manifest.variants))
    digests = {entry.path: entry.sha256 for entry in manifest.files}
    for variant in manifest.variants:
        yield from _variant(variant, digests)
    yield from _modelled(package)
    yield from _lineage(manifest)
    for path, digest in sorted(digests.items()):
        if not path.startswith(_NOT_COMPARED):
            yield ("files", path), Fact(value=digest[:12])


def _identity(package: UnpackedPackage) -> Iterator[Item]:
    manifest = package.manifest
    signature = package.folder / SIGNATURE_PATH
    signer = "none"
    if signature.exists():
        signer = f"claims to be by key {(key_hint(signature.read_bytes()) or 'unknown')[:12]}"
    values = {
        "name": manifest.name,
        "version": manifest.version,
        "release": str(manifest.release),
        "created": manifest.created.isoformat(),
        "task": manifest.task,
        "target": f"{manifest.target.device} ({manifest.target.architecture})",
        "digest": package.digest[:12],
        "signature": signer,
    }
    for name, value in values.items():
        yield ("package", name), Fact(value=value)


def _tensors(section: str, specs: tuple[TensorSpec, ...]) -> Iterator[Item]:
    for spec in specs:
        yield (section, spec.name), Fact(value=f"{spec.datatype} {list(spec.shape)}")


def _variant(variant: Variant, digests: dict[str, str]) -> Iterator[Item]:
    section = f"variant {variant.id}"
    yield (section, "engine"), Fact(value=f"{variant.engine} >= {variant.engine_min_version}")
    yield (section, "precision"), Fact(value=variant.precision)
    for name, value in sorted(variant.metrics.items()):
        yield (section, name), Fact(value=value)
    yield (section, "size"), Fact(value=variant.size_bytes, unit="bytes")
    yield (section, "peak memory"), Fact(value=variant.peak_memory_bytes, unit="bytes")
    yield (section, "p50 on the host"), Fact(value=variant.latency.p50_ms, unit="ms")
    yield (section, "p99 on the host"), Fact(value=variant.latency.p99_ms, unit="ms")
    yield (section, "model file"), Fact(value=", ".join(digests[path][:12] for path in variant.files))


def _modelled(package: UnpackedPackage) -> Iterator[Item]:
    device = package.manifest.target.device
    table = load_table(device)
    estimates = {} if table is None else estimate_variants(package.manifest, package.folder, table)
    for name, estimate in estimates.items():
        yield (f"variant {name}", f"p50 on {device}, modelled"), Fact(value=round(estimate.ms, 3), unit="ms")


def _lineage(manifest: Manifest) -> Iterator[Item]:
    for record in manifest.lineage:
        section = _CONSTRAINTS if record.name == _CONSTRAINTS else f"pass {record.name}"
        if section != _CONSTRAINTS:
            yield (section, "is done"), Fact(value="yes")
        yield from _members(section, record.parameters)


def _members(section: str, members: dict[str, JsonValue], prefix: str = "") -> Iterator[Item]:
    for name, value in sorted(members.items()):
        if isinstance(value, dict):
            yield from _members(section, value, f"{prefix}{name}.")
        elif value is not None:
            yield (section, f"{prefix}{name}"), Fact(value=_plain(value), unit=_UNITS.get(name, ""))


def _plain(value: JsonValue) -> str | int | float:
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return json.dumps(value)


def _machines(manifest: Manifest) -> list[str]:
    return sorted({variant.latency.machine for variant in manifest.variants})
