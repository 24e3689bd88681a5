"""Where a run of the benchmark keeps its work, and what was asked of it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from drupelet_host.latency.machine import describe_machine
from drupelet_host.torch_models.device import choose_device, describe_device
from drupelet_shared.files import write_atomically

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
        passes: The recovery budget of each row, in passes over the training samples.
        epochs: The recipe's `prune.recovery.epochs` of the rows that this project's compiler makes.
        max_metric_drop: What row (f) may lose; a fraction.
        nncf_python: An interpreter that can import nncf.
        device: What trains.
        precision: What recovery computes in.
        shift: By how many pixels at most the images are moved that this project's compiler learns from.
    """

    work: Path
    data: Path
    samples: int
    original_epochs: int
    passes: int
    epochs: int
    max_metric_drop: float
    nncf_python: Path
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    shift: int = 0

    @property
    def weights(self) -> Path:
        """The trained original's state_dict."""
        return self.work / "original.pt"

    @property
    def original(self) -> Path:
        """The trained original as an ONNX file."""
        return self.work / "original.onnx"

    def save(self) -> None:
        """Leave it in the work folder for the processes that make the rows."""
        text = json.dumps(asdict(self), indent=2, default=str)
        write_atomically(_path(self.work), text.encode())


def load_setting(work: Path) -> Setting:
    """Return what `Setting.save` left."""
    kept = json.loads(_path(work).read_text(encoding="utf-8"))
    return Setting(**{**kept, **{name: Path(kept[name]) for name in ("work", "data", "nncf_python")}})


def name_machine() -> str:
    """Return the machine that this runs on; virtual ones of different sizes may give their processor one name."""
    return f"{describe_machine()}, {len(os.sched_getaffinity(0))} cores"


def describe_here(setting: Setting) -> str:
    """Return the machine that makes a row, with what trains."""
    return f"{name_machine()}, training on {describe_device(choose_device(setting.device))}"


def _path(work: Path) -> Path:
    return work / "setting.json"
