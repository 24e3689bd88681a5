from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import BaseModel

from drupelet_host.compiler.lineage import digest_module
from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.pipeline import Pipeline
from drupelet_host.compiler.state import CompileState
from drupelet_host.errors import ModelError
from drupelet_host.packaging.creation_time import creation_time
from drupelet_host.progress.observer import Observer
from drupelet_shared.errors import InvalidValueError
from fakes.observer import RecordingObserver
from support.model.tiny_project import start_state, trained


class Settings(BaseModel):
    content: str = ""


@dataclass(frozen=True)
class WritingPass:
    """Adds one artifact."""

    name: str
    config: Settings

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        path = state.workspace / self.name
        path.write_text(self.config.content, encoding="utf-8")
        artifacts: Mapping[str, Path] = {**state.artifacts, self.name: path}
        observer.decided(f"wrote {self.name}")
        return PassResult(replace(state, artifacts=artifacts), {"characters": float(len(self.config.content))})


@dataclass(frozen=True)
class FailingPass:
    config: Settings
    name: str = "failing"

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:  # noqa: ARG002 - the protocol's
        raise ModelError("cannot be done")


def state(workspace: Path) -> CompileState:
    tiny = trained()
    return start_state(workspace, tiny.model, train=tiny.train, validation=tiny.validation)


def test_passes_run_in_order_and_each_leaves_a_record(tmp_path: Path) -> None:
    observer = RecordingObserver()
    passes = [WritingPass("first", Settings(content="a")), WritingPass("second", Settings(content="bb"))]
    final = Pipeline(passes, observer=observer).run(state(tmp_path))
    first, second = final.lineage
    assert (first.name, first.parameters, first.metrics) == ("first", {"content": "a"}, {"characters": 1.0})
    assert first.parent is None
    assert second.parent == first.digest != second.digest
    assert second.digest == final.digest()
    assert observer.passes == ["1/2 first", "2/2 second"]
    assert observer.finished == ["first", "second"]


def test_a_pass_that_fails_ends_the_pipeline(tmp_path: Path) -> None:
    observer = RecordingObserver()
    pipeline = Pipeline([FailingPass(Settings()), WritingPass("later", Settings())], observer=observer)
    with pytest.raises(ModelError, match="cannot be done"):
        pipeline.run(state(tmp_path))
    assert observer.finished == []
    assert list(tmp_path.iterdir()) == []


def test_before_any_artifact_the_digest_is_the_models(tmp_path: Path) -> None:
    assert state(tmp_path).digest() == digest_module(trained().model)


def test_the_creation_time_is_what_reproducible_builds_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert creation_time().isoformat() == "2023-11-14T22:13:20+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(InvalidValueError, match="SOURCE_DATE_EPOCH = 'soon'"):
        creation_time()
