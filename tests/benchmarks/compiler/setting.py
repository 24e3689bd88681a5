"""Where a run of the benchmark keeps its work, and what was asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SEED = 0
INPUT_SHAPE = (1, 3, 32, 32)
INPUT_NAME, OUTPUT_NAME = "input", "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One run.

    Attributes:
        work: The folder of everything that is kept; a run that was ended goes on from it.
        data: The folder of the four IDX files.
        samples: Most training samples; fewer than all are for trying the benchmark out.
        original_epochs: How long the original is trained.
        max_metric_drop: What row (f) may lose; a fraction.
        nncf_python: An interpreter that can import nncf.
        engines: What the compiler makes variants for.
    """

    work: Path
    data: Path
    samples: int
    original_epochs: int
    max_metric_drop: float
    nncf_python: Path
    engines: tuple[str, ...]

    @property
    def weights(self) -> Path:
        """The trained original's state_dict."""
        return self.work / "original.pt"

    @property
    def original(self) -> Path:
        """The trained original as an ONNX file."""
        return self.work / "original.onnx"
