"""Golden vectors: inputs with the outputs the host saw, written with a variant and checked on the device."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drupelet_shared.engines.base import Array, Session
from drupelet_shared.errors import GoldenMismatchError, PackageError

_INPUT, _OUTPUT = "input.", "output."


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """Arrays by tensor name; the samples lie along a new first axis, each sample as the session takes it."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    @property
    def samples(self) -> int:
        """How many input sets there are."""
        return len(next(iter(self.inputs.values())))

    def sample(self, index: int) -> dict[str, Array]:
        """Return one input set."""
        # An index into an array of one dimension gives a scalar, which engines refuse where they take 0-d tensors.
        return {name: np.asarray(values[index]) for name, values in self.inputs.items()}

    def to_bytes(self) -> bytes:
        """Return the NPZ, byte for byte the same for the same arrays."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for prefix, arrays in ((_INPUT, self.inputs), (_OUTPUT, self.outputs)):
                for name in sorted(arrays):
                    entry = io.BytesIO()
                    np.lib.format.write_array(entry, np.ascontiguousarray(arrays[name]), allow_pickle=False)
                    archive.writestr(zipfile.ZipInfo(f"{prefix}{name}.npy"), entry.getvalue())
        return buffer.getvalue()


def record_golden(session: Session, samples: list[dict[str, Array]]) -> GoldenVectors:
    """Run the samples and keep what came out.

    Args:
        session: The variant's session.
        samples: Input sets; every sample has the same shapes.
    """
    names = [spec.name for spec in session.outputs]
    results = [session.run(sample, names) for sample in samples]
    return GoldenVectors(
        inputs={name: np.stack([sample[name] for sample in samples]) for name in samples[0]},
        outputs={name: np.stack([result[name] for result in results]) for name in names},
    )


def load_golden(path: Path) -> GoldenVectors:
    """Read a golden file.

    Raises:
        PackageError: The file is not an NPZ of golden vectors.
    """
    try:
        # Opened here, because NumPy does not close a file that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except MemoryError:
        raise
    except Exception as error:  # zipfile and NumPy raise whatever a broken file leads to: EOFError, zlib.error, ...
        raise PackageError(f"golden vectors {path.name}: {error}") from error
    inputs = {name.removeprefix(_INPUT): array for name, array in arrays.items() if name.startswith(_INPUT)}
    outputs = {name.removeprefix(_OUTPUT): array for name, array in arrays.items() if name.startswith(_OUTPUT)}
    if not inputs or not outputs or len({len(array) for array in arrays.values()}) != 1:
        raise PackageError(f"golden vectors {path.name}: expected equally many input.* and output.* samples")
    return GoldenVectors(inputs=inputs, outputs=outputs)


def check_golden(session: Session, golden: GoldenVectors, *, tolerance: float) -> float:
    """Run every sample and compare.

    Args:
        session: The session under test.
        golden: What the host saw.
        tolerance: The largest difference allowed, as a fraction of the output's largest magnitude.

    Returns:
        The largest difference found, as such a fraction.

    Raises:
        GoldenMismatchError: An output differs by more, or has another shape.
    """
    worst = 0.0
    for index in range(golden.samples):
        results = session.run(golden.sample(index), list(golden.outputs))
        for name, expected in golden.outputs.items():
            worst = max(worst, _difference(name, results[name], expected[index], scale=_scale(expected)))
    if worst > tolerance:
        raise GoldenMismatchError(f"outputs differ from the golden vectors by {worst:.3g}: tolerance {tolerance:.3g}")
    return worst


def _scale(expected: Array) -> float:
    return float(np.max(np.abs(expected.astype(np.float64)), initial=0.0)) or 1.0


def _difference(name: str, actual: Array, expected: Array, *, scale: float) -> float:
    if actual.shape != expected.shape:
        raise GoldenMismatchError(f"output {name!r} has shape {actual.shape}: golden {expected.shape}")
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    # A NaN compares false with any tolerance, so it counts as infinitely wrong.
    return float(np.nan_to_num(np.max(difference, initial=0.0), nan=np.inf)) / scale
