"""Builds packages: file entries, manifest, signature and archive."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.errors import ManifestError
from drupelet_shared.package.archive import archive_errors, write_archive
from drupelet_shared.package.limits import DEFAULT_LIMITS, check_count, check_sizes
from drupelet_shared.package.manifest import (
    MANIFEST_PATH,
    SIGNATURE_PATH,
    FileEntry,
    ImagePreprocessing,
    LineageRecord,
    Manifest,
    Target,
    Variant,
    manifest_digest,
)
from drupelet_shared.package.paths import check_path
from drupelet_shared.package.reading import MAX_MANIFEST_BYTES, covered_digests
from drupelet_shared.package.signature import identify_key, sign_digests
from drupelet_shared.postprocessing.specs import Postprocessing
from drupelet_shared.tensors import TensorSpec

SUFFIX = ".drupe"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageDescription:
    """The content of the manifest except its list of files, which the builder computes.

    Attributes:
        name: The name of the model.
        version: The model's version.
        release: The release number, which must increase: devices refuse a lower one.
        created: The time of creation; an argument, so that builds are reproducible.
        task: The task of the model.
        inputs: The input tensors.
        outputs: The output tensors.
        target: The device that the package is for.
        variants: The variants, best first.
        preprocessing: How an image is converted to an input; None for a model without image input.
        postprocessing: How outputs are converted to labels, boxes, a class map or a verdict; None for raw tensors.
        lineage: The records of the passes.
    """

    name: str
    version: str
    release: int
    created: datetime
    task: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    target: Target
    variants: tuple[Variant, ...]
    preprocessing: ImagePreprocessing | None = None
    postprocessing: Postprocessing | None = None
    lineage: tuple[LineageRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class BuiltPackage:
    """A package that was written.

    Attributes:
        path: The package file.
        manifest: The manifest.
        digest: The package digest.
        signed_by: The identifier of the signing key; None for an unsigned package.
    """

    path: Path
    manifest: Manifest
    digest: str
    signed_by: str | None


def build_package(
    output: Path,
    description: PackageDescription,
    files: Mapping[str, bytes | Path],
    *,
    signing_key: ec.EllipticCurvePrivateKey | None = None,
) -> BuiltPackage:
    """Write `NAME-VERSION.drupe` atomically; the same input gives the same bytes.

    Args:
        output: The folder to write to; created if it does not exist.
        description: The content of the manifest.
        files: The files of the package, by their path inside: bytes, or the path of a file to read.
        signing_key: A P-256 private key; the package is unsigned without one.

    Returns:
        The package that was written.

    Raises:
        ManifestError: The description is invalid or does not match the files; the message lists every fault.
        ArchiveError: A file cannot be read, has a path that the format forbids, or is larger than readers accept.
    """
    with archive_errors(output):
        manifest = _build_manifest(description, _file_entries(files))
        output.mkdir(parents=True, exist_ok=True)
    data = manifest.to_bytes()
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"{MANIFEST_PATH} has {len(data)} bytes: readers accept {MAX_MANIFEST_BYTES}")
    digest = manifest_digest(data)
    contents: dict[str, bytes | Path] = {**files, MANIFEST_PATH: data}
    stem = f"{manifest.name}-{manifest.version}"
    if signing_key is not None:
        contents[SIGNATURE_PATH] = sign_digests(stem, covered_digests(manifest, digest), signing_key)
    path = output / f"{stem}{SUFFIX}"
    write_archive(path, contents)
    signed_by = None if signing_key is None else identify_key(signing_key.public_key()).id
    return BuiltPackage(path=path, manifest=manifest, digest=digest, signed_by=signed_by)


def report_path(package: Path, suffix: str) -> Path:
    """Return the path of the report beside a package, `NAME-VERSION.report.html` or `.json`.

    Args:
        package: The package.
        suffix: ".html" or ".json".
    """
    return package.with_name(f"{package.stem}.report{suffix}")


def _file_entries(files: Mapping[str, bytes | Path]) -> tuple[FileEntry, ...]:
    entries = tuple(_file_entry(path, files[path]) for path in sorted(files))
    check_count(len(entries) + len((MANIFEST_PATH, SIGNATURE_PATH)), DEFAULT_LIMITS)
    check_sizes({entry.path: entry.size_bytes for entry in entries}, DEFAULT_LIMITS)
    return entries


def _file_entry(path: str, content: bytes | Path) -> FileEntry:
    if path in {MANIFEST_PATH, SIGNATURE_PATH}:
        raise ManifestError(f"{path} is written by the builder: it cannot be one of the files")
    check_path(path)
    if isinstance(content, bytes):
        return FileEntry(path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(path=path, sha256=digest, size_bytes=file.tell())


def _build_manifest(description: PackageDescription, entries: tuple[FileEntry, ...]) -> Manifest:
    try:
        return Manifest(
            name=description.name,
            version=description.version,
            release=description.release,
            created=description.created,
            task=description.task,
            inputs=description.inputs,
            outputs=description.outputs,
            preprocessing=description.preprocessing,
            postprocessing=description.postprocessing,
            target=description.target,
            variants=description.variants,
            files=entries,
            lineage=description.lineage,
        )
    except ValidationError as error:
        raise ManifestError(f"{MANIFEST_PATH}: {describe_faults(error)}") from error
