"""Which files make up one model: ncnn's is a pair, every other engine's a single file."""

from __future__ import annotations

from pathlib import Path

GRAPH_SUFFIX, WEIGHTS_SUFFIX = ".param", ".bin"


def model_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a model, the one that an engine is given first."""
    return (path, path.with_suffix(WEIGHTS_SUFFIX)) if path.suffix == GRAPH_SUFFIX else (path,)


def model_size_bytes(path: Path) -> int:
    """Return the size of all files of a model together."""
    return sum(file.stat().st_size for file in model_files(path))
