"""A variant that cannot be made is dropped with a reason, whatever went wrong; faults of the machine are not hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_host.compiler.pass_protocol import PassResult, attempt_variant
from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ComputeError, ExportError
from drupelet_shared.errors import ModelLoadError
from fakes.observer import RecordingObserver
from support.model.tiny_project import start_state, trained


@pytest.fixture
def state(tmp_path: Path) -> CompileState:
    tiny = trained()
    return start_state(tmp_path, tiny.model, train=tiny.train, validation=tiny.validation)


def fail_with(error: BaseException) -> PassResult:
    raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ExportError("ort-fp32.onnx: nothing to quantize"), "nothing to quantize"),
        (ModelLoadError("the engine cannot load it\nmore"), "the engine cannot load it"),
        (IndexError("list index out of range"), "IndexError: list index out of range"),
        (ValueError(), "ValueError: no message"),
    ],
)
def test_a_variant_that_cannot_be_made_is_dropped_with_a_reason(
    state: CompileState, error: Exception, reason: str
) -> None:
    observer = RecordingObserver()
    result = attempt_variant(state, "ort-wf16", lambda: fail_with(error), observer=observer)
    assert result.state.dropped == {"ort-wf16": reason}
    assert observer.decisions == [f"no ort-wf16: {reason}"]


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), MemoryError(), ComputeError("task gradient: its worker died 6 times")],
)
def test_a_fault_of_the_machine_ends_the_compile(state: CompileState, error: BaseException) -> None:
    with pytest.raises(type(error)):
        attempt_variant(state, "ort-wf16", lambda: fail_with(error), observer=RecordingObserver())
