"""Estimates model files and packages: from the table, or exactly, by running them under the timing model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from drupelet_host.errors import ModelError
from drupelet_host.latency.engines import engine_of
from drupelet_host.latency.modelled.estimate import (
    VARIANT_PRECISIONS,
    Estimate,
    estimate,
    estimate_all,
    estimate_stored,
)
from drupelet_host.latency.modelled.exact import run_exactly
from drupelet_host.latency.modelled.files import READABLE, read_file_layers
from drupelet_host.latency.modelled.layers import PRECISIONS, EngineName, LayerShape
from drupelet_host.latency.modelled.table import LatencyTable, load_table
from drupelet_host.packaging.signing import open_package
from drupelet_host.recipe.model import MODEL_SUFFIXES
from drupelet_shared.errors import InvalidValueError
from drupelet_shared.package.manifest import Manifest, Variant
from drupelet_shared.package.reading import UnpackedPackage

# Formats whose files may leave sizes of inputs open.
_OPEN_SHAPES = (".onnx", ".pt2")


def estimate_file(
    path: Path,
    *,
    target: str,
    engines: Sequence[EngineName],
    emulator: Path | None = None,
    input_shapes: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> list[Estimate]:
    """Estimate a model file in every engine and precision, or each variant of a package in its own.

    Args:
        path: An ONNX, `.pt2` or LiteRT file, a package, or the folder of an unpacked one.
        target: The target's name.
        engines: The engines to consider.
        emulator: A folder that `deploy/emulator/prepare` made, to run the files there instead of reading the table.
        input_shapes: The shapes of inputs, by name, whose sizes the file leaves open.

    Returns:
        The estimates, at least one.

    Raises:
        InvalidValueError: The target has no latency table, no variant is for these engines, or shapes are stated of
            inputs that the file does not have, or of a file with fixed ones.
        ModelError: A file cannot be read or run.
        PackageError: The package is invalid.
    """
    table = require_table(target)
    if input_shapes and (path.is_dir() or path.suffix not in _OPEN_SHAPES):
        raise InvalidValueError(
            f"{path.name}: input shapes are stated for {' and '.join(_OPEN_SHAPES)} files; others have fixed ones"
        )
    if path.is_dir() or path.suffix == ".drupe":
        with open_package(path, trusted_keys=None) as package:
            return _estimate_package(package, table, engines, emulator)
    shapes = read_layers(path, input_shapes=input_shapes)
    if emulator is None:
        return estimate_all(shapes, table, engines=engines)
    return [_run_file(path, shapes, table, emulator)]


def read_layers(
    path: Path, *, input_shapes: Mapping[str, Sequence[int]] = MappingProxyType({})
) -> tuple[LayerShape, ...]:
    """Return the layers of a model file by its suffix: .onnx, .pt2, .tflite or .param.

    Args:
        path: The file.
        input_shapes: The shapes of inputs, by name, whose sizes an ONNX file leaves open.

    Raises:
        ModelError: The suffix is another one, the file cannot be read, or it has no layer or one that is not known.
        ExportError: A `torch.export` program cannot be converted.
        ImportError: The library that reads the format is not installed.
    """
    if path.suffix not in (*READABLE, *MODEL_SUFFIXES):
        raise ModelError(
            f"{path.name}: expected a file that ends in {', '.join((*MODEL_SUFFIXES, '.param'))} or .drupe"
        )
    # Sizes count and values do not.
    feed = {name: np.broadcast_to(np.float32(0), tuple(shape)) for name, shape in input_shapes.items()}
    if path.suffix != ".pt2":
        return read_file_layers(path, feed=feed)
    from drupelet_host.export.program import convert_program  # noqa: PLC0415 - torch takes seconds

    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        # Messages about the layers name the file that the person has.
        return read_file_layers(convert_program(path, Path(folder) / f"{path.name}.onnx"), feed=feed)


def require_table(target: str) -> LatencyTable:
    """Return a target's table.

    Raises:
        InvalidValueError: The target has no table.
    """
    table = load_table(target)
    if table is None:
        raise InvalidValueError(f"target {target!r} has no latency table; raspberry_pi_4 has one")
    return table


def estimate_variants(manifest: Manifest, folder: Path, table: LatencyTable) -> dict[str, Estimate]:
    """Estimate the variants of a package that the table covers.

    Args:
        manifest: The package's manifest.
        folder: Where its files are.
        table: The target's table.

    Returns:
        The estimates by the variant's id.
    """
    shapes = _package_layers(manifest, folder)
    if shapes is None:
        return {}
    return {
        variant.id: _estimate_variant(variant, folder, shapes, table)
        for variant in manifest.variants
        if variant.precision in VARIANT_PRECISIONS
    }


def _estimate_variant(variant: Variant, folder: Path, shapes: tuple[LayerShape, ...], table: LatencyTable) -> Estimate:
    precision = VARIANT_PRECISIONS[variant.precision]
    if precision == "mixed":
        try:
            return estimate_stored(read_layers(folder / variant.path), table, variant.engine)
        except (ModelError, ImportError):
            # Its engine is not installed here; a mixture costs at most what its slower precision costs.
            return max(
                (estimate(shapes, table, variant.engine, one) for one in PRECISIONS), key=lambda estimate: estimate.ms
            )
    return estimate(shapes, table, variant.engine, precision)


def _package_layers(manifest: Manifest, folder: Path) -> tuple[LayerShape, ...] | None:
    """The layers of the first variant whose file says them: all variants are the same network."""
    for variant in manifest.variants:
        if Path(variant.path).suffix in READABLE:
            try:
                return read_layers(folder / variant.path)
            except (ModelError, ImportError):
                continue
    return None


def _estimate_package(
    package: UnpackedPackage, table: LatencyTable, engines: Sequence[EngineName], emulator: Path | None
) -> list[Estimate]:
    manifest = package.manifest
    by_id = estimate_variants(manifest, package.folder, table)
    chosen = [variant for variant in manifest.variants if variant.engine in engines and variant.id in by_id]
    if not chosen:
        raise InvalidValueError(
            f"{manifest.name}: no variant for {', '.join(engines)} can be estimated; it has "
            + ", ".join(f"{variant.id} ({variant.precision})" for variant in manifest.variants)
        )
    if emulator is None:
        return [by_id[variant.id] for variant in chosen]
    return [_run_variant(variant, by_id[variant.id], package.folder, table, emulator) for variant in chosen]


def _run_variant(variant: Variant, looked_up: Estimate, folder: Path, table: LatencyTable, emulator: Path) -> Estimate:
    return _exact(looked_up, folder / variant.path, table, emulator)


def _run_file(path: Path, shapes: tuple[LayerShape, ...], table: LatencyTable, emulator: Path) -> Estimate:
    if path.suffix not in READABLE:
        raise ModelError(f"{path.name}: --exact runs {', '.join(READABLE)} files and packages; export it first")
    return _exact(estimate_stored(shapes, table, engine_of(path)), path, table, emulator)


def _exact(looked_up: Estimate, path: Path, table: LatencyTable, emulator: Path) -> Estimate:
    """The whole file's time under the timing model in place of the table's sum, without the table's own error."""
    ms = run_exactly(path, looked_up.engine, emulator=emulator) * table.scale
    error = looked_up.model_error
    low, high = table.threads_4
    four = ms * (1 - error) * low, ms * (1 + error) * high
    return replace(looked_up, ms=ms, error=error, table_error=0.0, layers=(), threads_4_ms=four)
