"""The memory of the agent with an int8 ResNet18, and of its peers with the same file, from /proc."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from benchmarks.agent.comparison import script
from benchmarks.agent.http_peers import ENVIRONMENTS, litserve, mlserver
from benchmarks.child import BenchmarkError
from benchmarks.memory import read_kib
from benchmarks.requester import Requester
from benchmarks.stage import Stage, open_stage, serving_agent
from drupelet_host.packaging.builder import PackageDescription, build_package
from drupelet_host.packaging.keys import load_private_key
from drupelet_shared.contract.wire import OK_CODE
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.inference import Encoded, InferenceRequest, encode_request
from drupelet_shared.package.golden import record_golden
from drupelet_shared.package.manifest import Golden, Latency, Target, Variant
from drupelet_shared.tensors import Datatype, TensorSpec
from support.package.served_packages import make_keys

_MODEL = "resnet18"
_SHAPE = (1, 3, 224, 224)
_REQUESTS = 20
_EXAMPLE = Path(__file__).resolve().parents[3] / "host" / "examples" / "resnet18"


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of all processes of one server: resident each, and with pages that are shared counted once among them."""

    name: str
    processes: int
    resident_bytes: int
    proportional_bytes: int


def measure_footprints(folder: Path, *, agent_python: Path | None, with_http: bool = True) -> list[Footprint]:
    """Serve a few requests each and read the memory; one server runs at a time."""
    model = make_resnet18()
    build = partial(_make_package, model)
    with open_stage(folder, make_package=build, model=_MODEL) as stage:
        found = list(_measure_agent(stage, agent_python))
        with script(stage.broker, model, []) as (topic, pid), _requester(stage) as requester:
            raw = Encoded(payload=_image().tobytes(), content_type="application/octet-stream", header_length=None)
            for _ in range(_REQUESTS):
                requester.ask(topic, raw)
            found.append(_read("script", psutil.Process(pid)))
    for start in (mlserver, litserve) if with_http else ():
        with start(folder / start.__name__, model) as peer:
            body = encode_request(InferenceRequest(inputs={"input": _image()}), binary=False)
            for _ in range(_REQUESTS):
                peer.ask(body.payload)
            found.append(_read(peer.name, psutil.Process(peer.pid)))
    return found


def make_resnet18() -> Path:
    """Return an int8 ResNet18 with random weights, made once: its memory is that of a trained one."""
    path = ENVIRONMENTS / "resnet18-int8.onnx"
    if path.exists():
        return path
    # Torch is loaded for this alone.
    import torch  # noqa: PLC0415

    from drupelet_host.export.onnx import export_onnx  # noqa: PLC0415
    from drupelet_host.quantization.static import quantize_static  # noqa: PLC0415
    from drupelet_host.recipe.model import INPUT_NAME  # noqa: PLC0415

    sys.path.insert(0, str(_EXAMPLE))
    from model import ResNet18  # noqa: PLC0415 - the example's own module

    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    floats = path.with_name("resnet18-fp32.onnx")
    export_onnx(ResNet18(), _SHAPE, floats)
    random = np.random.default_rng(0)
    calibration = [{INPUT_NAME: random.standard_normal(_SHAPE, dtype=np.float32)} for _ in range(4)]
    unfinished = path.with_suffix(".unfinished")
    quantize_static(floats, unfinished, calibration=calibration)
    return unfinished.replace(path)


@contextmanager
def _requester(stage: Stage) -> Iterator[Requester]:
    with Requester(stage.broker.host, stage.broker.port, name="footprint") as requester:
        yield requester


def _measure_agent(stage: Stage, python: Path | None) -> Iterator[Footprint]:
    with serving_agent(stage, python=python) as process, _requester(stage) as requester:
        body = encode_request(InferenceRequest(inputs={"input": _image()}), binary=True)
        for _ in range(_REQUESTS):
            reply, _ = requester.ask(stage.infer_topic, body)
            if reply.code != OK_CODE:
                raise BenchmarkError(f"the agent answered {reply.code}: {reply.payload[:200]!r}")
        parent = psutil.Process(process.pid)
        yield _sum("agent's parent", [parent])
        yield _sum("agent's worker", parent.children())
        yield _read("agent, parent and worker", parent)


def _read(name: str, first: psutil.Process) -> Footprint:
    return _sum(name, [first, *first.children(recursive=True)])


def _sum(name: str, processes: list[psutil.Process]) -> Footprint:
    sizes = [read_kib(process.pid, "smaps_rollup") for process in processes]
    return Footprint(
        name=name,
        processes=len(sizes),
        resident_bytes=sum(size["Rss"] for size in sizes),
        proportional_bytes=sum(size["Pss"] for size in sizes),
    )


def _image() -> np.ndarray:
    return np.full(_SHAPE, 0.5, np.float32)


def _make_package(model: Path, folder: Path) -> tuple[Path, Path]:
    keys = make_keys(folder)
    session = load_engine("onnxruntime").load(model, threads=1)
    golden = record_golden(session, [{"input": _image()}])
    outputs = tuple(TensorSpec(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in session.outputs)
    variant = Variant(
        id="ort-static-wi8-ai8",
        engine="onnxruntime",
        engine_min_version="1.20",
        precision="wi8-ai8",
        path="variants/ort-static-wi8-ai8/model.onnx",
        size_bytes=model.stat().st_size,
        peak_memory_bytes=0,
        metrics={},
        latency=Latency(p50_ms=1.0, p99_ms=1.0, threads=1, machine="not measured"),
        golden=Golden(path="golden/ort-static-wi8-ai8.npz", samples=1, tolerance=0.05),
    )
    description = PackageDescription(
        name=_MODEL,
        version="1.0.0",
        release=1,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        task="image-classification",
        inputs=(TensorSpec(name="input", datatype=Datatype.FP32, shape=_SHAPE),),
        outputs=outputs,
        target=Target(device="raspberry_pi_4", architecture="aarch64"),
        variants=(variant,),
    )
    files: dict[str, bytes | Path] = {variant.path: model, variant.golden.path: golden.to_bytes()}
    return build_package(folder, description, files, signing_key=load_private_key(keys.private)).path, keys.public
