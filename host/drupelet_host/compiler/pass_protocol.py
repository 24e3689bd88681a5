"""The protocol of a pass, and its result."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ComputeError
from drupelet_host.progress.observer import Observer
from drupelet_shared.engines.files import model_size_bytes
from drupelet_shared.errors import DrupeletError

log = logging.getLogger(__name__)

# The files that passes make of variants, by their ids.
_OWN_FILE = re.compile(r"^(ort|litert|ncnn)-[\w-]+\.(onnx|tflite|param): ")


@dataclass(frozen=True, slots=True)
class PassResult:
    """The state after a pass, and its measurements."""

    state: CompileState
    metrics: Mapping[str, float] = field(default_factory=dict)


def add_variant(state: CompileState, variant: str, path: Path) -> PassResult:
    """Return the result of a pass that made one more variant's file.

    Args:
        state: The state before the pass.
        variant: The id of the new variant.
        path: Its model file.
    """
    artifacts = {**state.artifacts, variant: path}
    return PassResult(replace(state, artifacts=artifacts), {"size_bytes": float(model_size_bytes(path))})


def attempt_variant(
    state: CompileState, variant: str, make: Callable[[], PassResult], *, observer: Observer
) -> PassResult:
    """Make one more variant, or drop it with a reason: whatever is wrong with it must not end the compile.

    Args:
        state: The state before the pass.
        variant: The id of the variant.
        make: Returns the result of the pass that makes it.
        observer: Receives the reason why the variant is dropped.

    Returns:
        The result of the pass, with the variant or with the reason in `dropped`.

    Raises:
        OSError: A file cannot be written; every other variant would fail too.
        MemoryError: The machine has no memory left.
        ComputeError: Workers cannot be reached, or died again and again: the model is not to blame.
    """
    try:
        return make()
    except (OSError, MemoryError, ComputeError):
        raise
    except Exception as error:  # quantizers, converters and engines raise whatever a strange model leads to
        if not isinstance(error, DrupeletError):
            log.debug("making a variant failed variant=%s", variant, exc_info=True)
        return drop_variant(state, variant, describe_failure(error), observer=observer)


def drop_variant(state: CompileState, variant: str, reason: str, *, observer: Observer) -> PassResult:
    """Return the result of a pass that did not make a variant, and report the reason.

    Args:
        state: The state before the pass.
        variant: The id of the variant.
        reason: Why it was not made.
        observer: Receives the reason.
    """
    observer.decided(f"no {variant}: {reason}")
    return PassResult(replace(state, dropped={**state.dropped, variant: reason}))


def describe_failure(error: Exception) -> str:
    """Return an error in one line, without the names of the compile's own files; foreign ones with their type."""
    text = _OWN_FILE.sub("", (str(error).strip().splitlines() or ["no message"])[0])
    return text if isinstance(error, DrupeletError) else f"{type(error).__name__}: {text}"


class Pass(Protocol):
    """One step of a compile."""

    @property
    def name(self) -> str:
        """The name in lineage and progress."""

    @property
    def config(self) -> BaseModel:
        """Its configuration."""

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Do the work on a copy of the state.

        Raises:
            DrupeletError: It cannot be done.
        """
