"""Boards in the loop: a real agent measures candidates for the compiler, and comes and goes meanwhile."""

from __future__ import annotations

import threading
import time
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from drupelet_host.client import BrokerAddress
from drupelet_host.compiler.compile import compile_recipe
from drupelet_host.errors import EngineMissingError, LatencyError
from drupelet_host.latency.board import Board, BoardLimits
from drupelet_host.latency.candidate_package import CandidatePacker
from drupelet_host.latency.device import DeviceSource
from drupelet_host.packaging.keys import load_private_key
from drupelet_host.recipe.schema import parse_recipe
from drupelet_shared.package.manifest import Target
from drupelet_shared.package.reading import unpack_package
from fakes.observer import RecordingObserver
from support.agent.agents import running_agent
from support.agent.sites import Site, make_site
from support.broker.brokers import Broker
from support.model.onnx_models import write_add_model, write_expanding_model
from support.model.tiny_project import RECIPE_SOURCE, write_project

FEED = {"input": np.ones((1, 1), np.float32)}
# For a busy machine: what is waited for here takes seconds on a quiet one.
pytestmark = pytest.mark.timeout(600)

MEASURE = "trust.measure = true"
PATIENCE_S = 240.0
TARGET = Target(device="raspberry_pi_4", architecture="aarch64")


class Events:
    """What a source told of interruptions."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.interrupted = threading.Event()

    def __call__(self, event: str) -> None:
        self.told.append(event)
        self.interrupted.set()


def source_of(
    broker: Broker, key: Path, *devices: str, on_event: Callable[[str], None] = lambda _: None, **limits: float
) -> DeviceSource:
    boards = [board_of(broker, device, on_event=on_event, **limits) for device in devices]
    return DeviceSource(boards, CandidatePacker(TARGET, load_private_key(key)))


def board_of(
    broker: Broker, device: str, *, on_event: Callable[[str], None] = lambda _: None, **limits: float
) -> Board:
    # A busy machine may take long for an upload, which must not count as a board that is gone.
    chosen = BoardLimits(**{"max_seconds": 0.5, "patience_s": PATIENCE_S, **limits})
    return Board(device, broker=BrokerAddress(broker.host, broker.port), limits=chosen, on_event=on_event)


def models_in(folder: Path) -> dict[str, Path]:
    return {
        "original": write_expanding_model(folder / "original.onnx", count=400_000),
        "fast": write_add_model(folder / "fast.onnx"),
        "slow": write_expanding_model(folder / "slow.onnx", count=6_400_000),
    }


def test_a_board_times_models_and_is_named_as_the_source(site: Site, broker: Broker, tmp_path: Path) -> None:
    device = site.topics.device
    source = source_of(broker, site.keys.private, device)
    with running_agent(site.configure(broker, extra=MEASURE)):
        found = source.measure(models_in(tmp_path), feed=FEED, references=("original",), precision=0.1)
    assert list(found) == ["original", "fast", "slow"]
    # Each has sixteen times the work of the one before, or more: that much no load on the machine turns around.
    assert found["fast"].p50_ms < found["original"].p50_ms < found["slow"].p50_ms
    for estimate in found.values():
        assert estimate.interval.low_ms <= estimate.p50_ms <= estimate.interval.high_ms
    assert {estimate.source for estimate in found.values()} == {f"measured on {device}"}
    assert source.label == source.fingerprint == f"measured on {device}"
    assert found["slow"].memory_bytes is not None


def test_boards_share_the_candidates_and_each_measures_the_reference(
    site: Site, embedded: Broker, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = make_site(tmp_path / "other")
    (other.folder / "trust/maker.pub").write_bytes(site.keys.public.read_bytes())
    # Neither is done with its part before the other has taken its own: no precision ends them early.
    source = source_of(embedded, site.keys.private, site.topics.device, other.topics.device, max_seconds=2.0)
    with ExitStack() as stack:
        for one in (site, other):
            stack.enter_context(running_agent(one.configure(embedded, extra=MEASURE)))
        found = source.measure(models_in(tmp_path), feed=FEED, references=("original",), precision=1e-9)
    assert {found["fast"].source, found["slow"].source} == {f"measured on {one.topics.device}" for one in (site, other)}


def test_the_other_board_measures_everything_when_one_is_gone(site: Site, embedded: Broker, tmp_path: Path) -> None:
    boards = [board_of(embedded, "gone", patience_s=1.0), board_of(embedded, site.topics.device)]
    source = DeviceSource(boards, CandidatePacker(TARGET, load_private_key(site.keys.private)))
    with running_agent(site.configure(embedded, extra=MEASURE)):
        found = source.measure(models_in(tmp_path), feed=FEED, precision=0.5)
    assert {estimate.source for estimate in found.values()} == {f"measured on {site.topics.device}"}


def test_a_board_without_the_engine_leaves_the_candidates_to_the_one_that_has_it(
    site: Site, embedded: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other = make_site(tmp_path / "other")
    (other.folder / "trust/maker.pub").write_bytes(site.keys.public.read_bytes())
    source = source_of(embedded, site.keys.private, other.topics.device, site.topics.device)
    (other.folder / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n", encoding="utf-8")
    with ExitStack() as stack:
        monkeypatch.setenv("PYTHONPATH", str(other.folder))
        stack.enter_context(running_agent(other.configure(embedded, extra=MEASURE)))
        monkeypatch.undo()
        stack.enter_context(running_agent(site.configure(embedded, extra=MEASURE)))
        found = source.measure(models_in(tmp_path), feed=FEED, references=("original",), precision=0.5)
    assert {estimate.source for estimate in found.values()} == {f"measured on {site.topics.device}"}


def test_without_any_board_the_error_names_each_and_what_to_do(site: Site, embedded: Broker, tmp_path: Path) -> None:
    source = source_of(embedded, site.keys.private, "gone", "away", patience_s=0.5)
    with pytest.raises(LatencyError, match=r"board gone gave no sign for 0\.5 s.*board away gave no sign"):
        source.measure(models_in(tmp_path), feed=FEED)


def test_a_board_that_does_not_allow_it_is_not_asked_again(site: Site, embedded: Broker, tmp_path: Path) -> None:
    events = Events()
    source = source_of(embedded, site.keys.private, site.topics.device, on_event=events)
    with running_agent(site.configure(embedded)), pytest.raises(LatencyError, match=r"trust\.measure = true"):
        source.measure(models_in(tmp_path), feed=FEED)
    assert events.told == []


def test_a_model_that_no_board_runs_is_named(site: Site, embedded: Broker, tmp_path: Path) -> None:
    source = source_of(embedded, site.keys.private, site.topics.device)
    models = models_in(tmp_path)
    # The worker's share of this memory does not hold the engine.
    config = site.configure(embedded, extra=f'{MEASURE}\nlimits.memory = "20MB"\nlimits.messages = "1MB"')
    with running_agent(config), pytest.raises(LatencyError, match="model original does not run on"):
        source.measure(models, feed=FEED, references=("original",))


def test_a_candidate_that_no_board_runs_does_not_end_the_measurement(
    site: Site, embedded: Broker, tmp_path: Path
) -> None:
    source = source_of(embedded, site.keys.private, site.topics.device)
    config = site.configure(embedded, extra=f'{MEASURE}\nlimits.memory = "20MB"\nlimits.messages = "1MB"')
    with running_agent(config):
        answers = source.measure(models_in(tmp_path), feed=FEED)
    assert list(answers) == ["original", "fast", "slow"]
    for name, answer in answers.items():
        assert isinstance(answer, LatencyError)
        assert str(answer).startswith(f"model {name} does not run on {site.topics.device}: ")


def test_measuring_begins_again_after_the_agent_was_killed(site: Site, embedded: Broker, tmp_path: Path) -> None:
    events, config = Events(), site.configure(embedded, extra=MEASURE)
    source = source_of(embedded, site.keys.private, site.topics.device, on_event=events, max_seconds=2.0)
    results: list[object] = []

    def measure() -> None:
        results.append(source.measure(models_in(tmp_path), feed=FEED, precision=1e-9))

    thread = threading.Thread(target=measure)
    with running_agent(config) as agent:
        thread.start()
        _wait_until(lambda: any((site.folder / "state/candidates").glob("*/package/manifest.json")))
        agent.process.kill()
        agent.process.wait(timeout=PATIENCE_S)
    with running_agent(config):
        thread.join(timeout=PATIENCE_S)
    assert not thread.is_alive()
    assert len(results) == 1
    assert any("begins again" in event for event in events.told)


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_recipe_with_boards_has_its_latency_from_them(site: Site, embedded: Broker, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project").parent
    device, label = site.topics.device, f"measured on {site.topics.device}"
    document = tomllib.loads(RECIPE_SOURCE)
    document["target"] = {"boards": {"devices": [device], "broker": embedded.url, "max_seconds": 0.5}}
    document["constraints"]["max_latency"] = "10 s"
    document["output"]["key"] = str(site.keys.private)
    observer = RecordingObserver()
    with running_agent(site.configure(embedded, extra=MEASURE)), site.listener(embedded) as listener:
        # A compile looks for its boards before any work.
        listener.patience_s = PATIENCE_S
        listener.wait_for(site.topics.status, state="online")
        state = compile_recipe(parse_recipe(document, folder=project), observer=observer)
    assert {measured.target_latency.source for measured in state.measurements.values()} == {label}
    assert state.package is not None
    package = unpack_package(state.package, tmp_path / "unpacked", trusted_keys=None)
    latency = package.manifest.variants[0].latency
    assert latency.machine == label.removeprefix("measured on ")
    assert latency.p50_ms == state.measurements[package.manifest.variants[0].id].target_latency.p50_ms
    record = next(one for one in package.manifest.lineage if one.name == "evaluate_variants")
    assert record.parameters["latency_source"] == label
    report = (package.folder / "report.json").read_text(encoding="utf-8")
    assert label in report


def test_a_compile_leaves_out_an_engine_that_its_board_does_not_have(
    site: Site, embedded: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write_project(tmp_path / "project").parent
    device = site.topics.device
    document = tomllib.loads(RECIPE_SOURCE)
    document["target"] = {"boards": {"devices": [device], "broker": embedded.url, "max_seconds": 0.5}}
    document["constraints"]["max_latency"] = "10 s"
    document["export"] = {"engines": ["onnxruntime", "ncnn"]}
    document["output"]["key"] = str(site.keys.private)
    observer = RecordingObserver()
    (site.folder / "sitecustomize.py").write_text("import sys\nsys.modules['ncnn'] = None\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    with running_agent(site.configure(embedded, extra=MEASURE)), site.listener(embedded) as listener:
        monkeypatch.undo()
        listener.patience_s = PATIENCE_S
        listener.wait_for(site.topics.status, state="online")
        state = compile_recipe(parse_recipe(document, folder=project), observer=observer)
        document["export"] = {"engines": ["ncnn"]}
        with pytest.raises(EngineMissingError, match=f"board {device} cannot run ncnn"):
            compile_recipe(parse_recipe(document, folder=project))
    assert state.package is not None
    assert {variant.partition("-")[0] for variant in state.ranking} == {"ort"}
    line = f"board {device} cannot run ncnn: engine 'ncnn' is not installed"
    assert any(line in reason for reason in state.dropped.values())
    assert any(line in message and "export.engines" in message for message in observer.decisions)
