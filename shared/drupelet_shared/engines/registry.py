"""Engines by name, loaded when used."""

from __future__ import annotations

from drupelet_shared.contract.references import load_reference
from drupelet_shared.engines.base import Engine
from drupelet_shared.errors import EngineUnavailableError

ENGINES = {
    "onnxruntime": "drupelet_shared.engines.onnxruntime:OnnxRuntimeEngine",
    "litert": "drupelet_shared.engines.litert:LiteRtEngine",
    "ncnn": "drupelet_shared.engines.ncnn:NcnnEngine",
}


def load_engine(name: str, *, min_version: str = "0") -> Engine:
    """Import the runtime behind an engine name and return its adapter.

    Args:
        name: A key of `ENGINES`.
        min_version: The oldest runtime version that is accepted, as dotted numbers.

    Returns:
        The adapter.

    Raises:
        EngineUnavailableError: The name is unknown, the runtime is not installed, or it is too old.
    """
    if name not in ENGINES:
        raise EngineUnavailableError(f"engine {name!r}: expected one of {', '.join(sorted(ENGINES))}")
    try:
        engine: Engine = load_reference(ENGINES[name])()
    except ImportError as error:
        raise EngineUnavailableError(f"engine {name!r} is not installed: {error}") from error
    if _numbers(engine.version) < _numbers(min_version):
        raise EngineUnavailableError(f"engine {name!r} is version {engine.version}: the variant needs {min_version}")
    return engine


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading dotted numbers of a version: "2.3.0rc1" gives (2, 3, 0)."""
    numbers: list[int] = []
    for part in version.split("."):
        digits = "".join(character for character in part if character.isdigit())
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)
