"""What passes hand on to each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.lineage import digest_file, digest_module
from drupelet_host.pruning.groups import Importance
from drupelet_host.pruning.progressive import PruningResult
from drupelet_host.sensitivity import SensitivityCurve
from drupelet_shared.manifest import LineageRecord


@dataclass(frozen=True, slots=True)
class CostCount:
    """What a model costs by counting."""

    parameters: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileState:
    """The state of a compile between two passes; a pass returns a changed copy.

    Attributes:
        workspace: A folder for model files, gone when the compile ends.
        original: The model as it came; no pass changes it.
        model: The model as the passes so far made it.
        train: What recovers and calibrates.
        validation: What measures.
        original_file: The original as a model file.
        original_cost: Counted before anything was done.
        reference: The original measured in the engine, last beside the variants.
        importance: What says which channels go first.
        curves: Sensitivity by group.
        pruning: What pruning did.
        artifacts: The pruned model's files by variant id.
        measurements: The variants measured, by id.
        ranking: Ids of the variants that go into the package, best first.
        lineage: One record for each finished pass.
        package: Where the package was written.
    """

    workspace: Path
    original: nn.Module
    model: nn.Module
    train: Dataset
    validation: Dataset
    original_file: Path | None = None
    original_cost: CostCount | None = None
    reference: Measurement | None = None
    importance: Importance = "l2"
    curves: Mapping[str, SensitivityCurve] = field(default_factory=dict)
    pruning: PruningResult | None = None
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    ranking: tuple[str, ...] = ()
    lineage: tuple[LineageRecord, ...] = ()
    package: Path | None = None

    @property
    def example_input(self) -> torch.Tensor:
        """One training sample, batch first."""
        return torch.from_numpy(self.train.inputs[:1])

    def digest(self) -> str:
        """The SHA-256 of the newest artifact: the model files if there are any, else the model's state."""
        if not self.artifacts:
            return digest_module(self.model)
        lines = [f"{variant} {digest_file(path)}\n" for variant, path in sorted(self.artifacts.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
