"""Runs a network in an engine under the timing model and finds out what each of its layers took."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.instructions.emulator import EmulatedPi
from benchmarks.latency_model.networks import Layer, Network
from benchmarks.latency_model.write_ncnn import write_ncnn
from benchmarks.latency_model.write_onnx import write_onnx
from benchmarks.latency_model.write_tflite import write_tflite
from drupelet_host.latency.modelled.layers import EngineName

ENGINES: tuple[EngineName, ...] = ("ncnn", "onnxruntime", "litert")

_GUEST = "benchmarks.latency_model.guest"
_TESTS = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 3600
_SUFFIXES = {"ncnn": ".param", "onnxruntime": ".onnx", "litert": ".tflite"}
_WRITERS: dict[EngineName, Callable[..., None]] = {
    "ncnn": write_ncnn,
    "onnxruntime": write_onnx,
    "litert": write_tflite,
}
# ONNX Runtime's profiler reads the clock this often before the first node of a run.
_READS_BEFORE_NODES = 3


class MeasuringError(Exception):
    """What the engine ran is not what the network has."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One inference under the timing model.

    Attributes:
        cycles: Of the whole inference.
        layers: Of each layer, with what the engine converts around it.
        rest: What belongs to no layer: the input's and output's conversion and the engine's own work.
    """

    cycles: int
    layers: tuple[int, ...]
    rest: int


def measure_layers(
    networks: Sequence[Network], engine: EngineName, *, int8: bool, pi: EmulatedPi
) -> list[Measured | MeasuringError]:
    """Measure one inference of each network at one thread, layer by layer.

    Args:
        networks: What to run; their weights are made up.
        engine: In which engine.
        int8: In static int8 instead of float32.
        pi: The machine.

    Returns:
        For each network what it took, or why its layers cannot be matched with what ran.

    Raises:
        subprocess.CalledProcessError: The engine cannot load or run a file.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        models = []
        for number, network in enumerate(networks):
            path = Path(folder) / f"{number}{_SUFFIXES[engine]}"
            _WRITERS[engine](network, path, int8=int8)
            models.append((path, network.shape))
        runs = run_guest(models, engine, how="layers", pi=pi)
        if engine == "onnxruntime":
            unobserved = [run.events[-1]["cycles"] for run in run_guest(models, engine, how="whole", pi=pi)]
            runs = [_without_profiler(run, cycles) for run, cycles in zip(runs, unobserved, strict=True)]
    return [_attribute(network, engine, run, int8=int8) for network, run in zip(networks, runs, strict=True)]


@dataclass(frozen=True, slots=True)
class Run:
    """What one model left behind.

    Attributes:
        marked: What the guest said.
        events: What the timing model wrote.
    """

    marked: Any
    events: list[dict[str, int]]


def run_guest(
    models: Sequence[tuple[Path, Sequence[int]]],
    engine: EngineName,
    *,
    how: Literal["whole", "layers"],
    pi: EmulatedPi,
    packages: Path | None = None,
    parameters: Sequence[str] = (),
) -> list[Run]:
    """Run model files; see `benchmarks.latency_model.guest`.

    Args:
        models: Files, each with the shape of its input, channels first.
        engine: What runs them.
        how: What is marked.
        pi: The machine.
        packages: A folder to import from before the machine's own.
        parameters: Of the timing model, "name=value", in place of those of its file.

    Raises:
        subprocess.CalledProcessError: The engine cannot load or run a file.
    """
    words = [_GUEST, engine, how, str(packages or "")]
    for path, shape in models:
        words += [str(path), "x".join(map(str, shape))]
    options = [*parameters, *(["events=1"] if how == "layers" and engine != "ncnn" else [])]
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        times = Path(folder) / "times.jsonl"
        printed = pi.run("-m", *words, times=times, model_options=options, timeout_s=_TIMEOUT_S, path=[_TESTS])
        lines = iter([json.loads(line) for line in times.read_text(encoding="ascii").splitlines()])
    marked = json.loads(printed)
    stops = [2 * len(names) if engine == "ncnn" and how == "layers" else 1 for names in marked]
    return [Run(names, _take_until(lines, count)) for names, count in zip(marked, stops, strict=True)]


def _without_profiler(run: Run, cycles: int) -> Run:
    """The run with each node's cost beside its mark, less what ONNX Runtime's profiler spends within it.

    In int8 the profiler's descriptions of tensors are up to half of what a small network takes. Nodes share equally in
    what the profiled run took longer than one without it.

    Args:
        run: Profiled.
        cycles: Of a run that was not.
    """
    reads = [event["clock"] for event in run.events if "clock" in event][_READS_BEFORE_NODES:]
    costs = [end - begin for begin, end in zip(reads[::2], reads[1::2], strict=False)][: len(run.marked)]
    profiler = max(0, sum(costs) - cycles) / max(1, len(costs))
    marked = [{**mark, "cycles": max(0, round(cost - profiler))} for mark, cost in zip(run.marked, costs, strict=True)]
    return Run(marked, run.events)


def _take_until(lines: Iterator[dict[str, int]], stops: int) -> list[dict[str, int]]:
    """The events up to the last of so many stops."""
    taken = []
    while stops:
        taken.append(next(lines))
        stops -= "tag" in taken[-1]
    return taken


def _attribute(network: Network, engine: EngineName, run: Run, *, int8: bool) -> Measured | MeasuringError:
    try:
        if engine == "ncnn":
            return _attribute_ncnn(network, run)
        return attribute_nodes(network, run) if engine == "onnxruntime" else _attribute_litert(network, run, int8=int8)
    except MeasuringError as error:
        return error


def _attribute_ncnn(network: Network, run: Run) -> Measured:
    cycles = [event["cycles"] for event in run.events]
    taken = [max(0, first - again) for first, again in zip(cycles[::2], cycles[1::2], strict=True)]
    layers = [0] * len(network.layers)
    rest = 0
    for mark, cost in zip(run.marked, taken, strict=True):
        if mark["name"].startswith("n"):
            layers[int(mark["name"][1:])] += cost
        else:
            rest += cost
    return Measured(sum(taken), tuple(layers), rest)


_NODE_KINDS: dict[str, tuple[frozenset[str], ...]] = {
    "convolution": (frozenset({"Conv", "FusedConv", "QLinearConv", "NhwcFusedConv"}),),
    "linear": (frozenset({"Gemm", "FusedGemm", "QGemm", "MatMul", "QLinearMatMul"}),),
    "max_pool": (frozenset({"MaxPool", "NhwcMaxPool"}),),
    "average_pool": (frozenset({"AveragePool", "QLinearAveragePool"}),),
    "global_pool": (frozenset({"GlobalAveragePool", "QLinearGlobalAveragePool"}),),
    "add": (frozenset({"Add", "QLinearAdd"}),),
    "multiply": (frozenset({"Mul", "QLinearMul"}),),
    "concat": (frozenset({"Concat", "QLinearConcat"}),),
    "upsample": (frozenset({"Resize", "Upsample"}),),
    "sigmoid": (frozenset({"Sigmoid", "QLinearSigmoid"}),),
}
# An activation is one node or two.
_FUSED_NODES = {"silu": "QuickGelu", "hardswish": "HardSwish"}
_TWO_NODES = {"silu": ("Sigmoid", "Mul"), "hardswish": ("HardSigmoid", "Mul")}
_AFTER = frozenset({"QuantizeLinear"})
_MAIN = frozenset().union(*(nodes for kinds in _NODE_KINDS.values() for nodes in kinds)) | {
    *_FUSED_NODES.values(),
    "HardSigmoid",
}


# Nodes that ONNX Runtime computes within the convolution before them where it can.
_MAY_BE_FUSED = frozenset({"Add", "Sigmoid", "Relu", "Clip"})
# A layer's node or its output, as `write_onnx` calls them, also within the name of what they were fused to.
_NODE_NAME = re.compile(r"(?:^|\s)[nt](\d+)")


@dataclass(frozen=True, slots=True)
class _Expected:
    """A node that ONNX Runtime should run: its layer, its possible kinds, and the values that it reads and writes."""

    position: int
    kinds: frozenset[str]
    values: list[int]


def attribute_nodes(network: Network, run: Run) -> Measured:
    """Match nodes of ONNX Runtime with layers; what quantizes belongs to the layer before, the rest to the next.

    Nodes of branches run in another order than the file has them in.

    Args:
        network: What was run.
        run: What its nodes took, each beside its mark.

    Raises:
        MeasuringError: A node belongs to no layer, or a layer has no node.
    """
    layers, waiting, last = [0] * len(network.layers), 0, None
    kinds = [mark["kind"] for mark in run.marked]
    expected = _expected_nodes(network, set(kinds))
    for mark in run.marked:
        cost = mark["cycles"]
        if (node := _find_node(mark, expected)) is not None:
            expected.remove(node)
            last = node.position
            layers[last] += cost + waiting
            waiting = 0
        elif mark["kind"] in _MAIN:
            raise MeasuringError(f"{mark['kind']} runs, expected {expected[:1]}: {kinds}")
        elif mark["kind"] in _AFTER and last is not None:
            layers[last] += cost
        else:
            waiting += cost
    if any(not node.kinds & _MAY_BE_FUSED for node in expected):
        raise MeasuringError(f"{expected} did not run: {kinds}")
    return Measured(sum(mark["cycles"] for mark in run.marked), tuple(layers), waiting)


def _find_node(mark: Mapping[str, Any], expected: Sequence[_Expected]) -> _Expected | None:
    """The node by its name where that was kept, else the next of its kind and size, else the next of its kind."""
    alike = [node for node in expected if mark["kind"] in node.kinds]
    if named := _NODE_NAME.search(mark["name"]):
        return next((node for node in alike if node.position == int(named[1])), None)
    sized = (node for node in alike if node.values == mark["values"])
    return next(sized, alike[0] if alike else None)


def _expected_nodes(network: Network, kinds: set[str]) -> list[_Expected]:
    found: list[_Expected] = []
    for position, (layer, shape) in enumerate(zip(network.layers, network.shapes(), strict=True)):
        activation = layer.activation if layer.kind == "activation" else ""
        values = [math.prod(network.input_shape(position)), math.prod(shape)]
        nodes: tuple[frozenset[str], ...] = _NODE_KINDS.get(activation or layer.kind, ())
        if activation in _TWO_NODES and _FUSED_NODES[activation] in kinds:
            nodes = (frozenset({_FUSED_NODES[activation]}),)
        elif activation in _TWO_NODES:
            nodes = tuple(frozenset({kind, f"QLinear{kind}"}) for kind in _TWO_NODES[activation])
        found += [_Expected(position, kinds_of_one, values) for kinds_of_one in nodes]
    return found


def _attribute_litert(network: Network, run: Run, *, int8: bool) -> Measured:
    """Match XNNPACK's operators with layers in order; what XNNPACK does not run lies in between."""
    points = [event["fp_control"] for event in run.events if "fp_control" in event]
    spans = list(zip(points[::2], points[1::2], strict=True))
    total = run.events[-1]["cycles"]
    counts = [_litert_operators(layer, int8=int8) for layer in network.layers]
    # In int8 the first quantizes the input and the last goes back to float.
    ends = 1 if int8 else 0
    if sum(counts) + 2 * ends != len(spans):
        raise MeasuringError(f"{len(spans)} operators ran, expected {sum(counts)} and {2 * ends}")
    layers, position = [], ends
    previous = spans[0][1] if int8 else spans[0][0]
    for count in counts:
        # A kernel of LiteRT's own takes up to the beginning of XNNPACK's next.
        following = spans[position][0] if position < len(spans) else total
        end = spans[position + count - 1][1] if count else following
        layers.append(end - previous)
        previous, position = end, position + count
    return Measured(total, tuple(layers), total - sum(layers))


def _litert_operators(layer: Layer, *, int8: bool) -> int:
    """How many of XNNPACK's operators compute a layer; none where LiteRT has a kernel of its own for it."""
    if layer.kind == "concat":
        return len(layer.inputs)
    if layer.kind == "upsample" or (int8 and (layer.kind == "average_pool" or layer.activation == "hardswish")):
        return 0
    return 2 if layer.kind == "activation" and layer.activation == "silu" and not int8 else 1
