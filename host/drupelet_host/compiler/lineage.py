"""Lineage: the digests of passes' outputs, and one record for each pass."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from drupelet_host.torch_models.digest import digest_module
from drupelet_shared.package.manifest import LineageRecord

__all__ = ["digest_file", "digest_module", "record_pass"]


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_pass(
    name: str, config: BaseModel, *, metrics: Mapping[str, float], seconds: float, parent: str | None, digest: str
) -> LineageRecord:
    """Return the record of one pass.

    Args:
        name: The name of the pass.
        config: The configuration of the pass.
        metrics: The measurements of the pass.
        seconds: The duration of the pass.
        parent: The digest of its input.
        digest: The digest of its output.
    """
    return LineageRecord(
        name=name,
        parameters=config.model_dump(mode="json"),
        metrics=dict(metrics),
        seconds=round(seconds, 3),
        parent=parent,
        digest=digest,
    )
