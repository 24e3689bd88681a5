"""The time of each layer of an ncnn model: ncnn's wheels have no profiler, so each layer is asked for and timed.

An extractor computes only what it has not computed yet, so asking for the output of one layer after the other takes the
time of that layer alone. The record has the form of ONNX Runtime's profile, which the readers of profiles know.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drupelet_shared.engines.base import Array, Tensors
from drupelet_shared.engines.ncnn_session import NcnnSession
from drupelet_shared.engines.ncnn_signature import NcnnSignature

_HEADER_LINES = 2
_MICROSECONDS_PER_S = 1e6
# Leaves the output in the layout in which the next layer reads it.
_AS_COMPUTED = 1


@dataclass(frozen=True, slots=True)
class _Layer:
    kind: str
    name: str
    output: str


@dataclass(slots=True)
class _Recording:
    """The events of all inferences, times in microseconds since the first."""

    start_s: float = field(default_factory=time.perf_counter)
    lines: list[str] = field(default_factory=list)

    def now_us(self) -> float:
        return (time.perf_counter() - self.start_s) * _MICROSECONDS_PER_S

    def add(self, name: str, *, category: str, start_us: float, end_us: float, args: dict[str, Any]) -> None:
        event = {"cat": category, "name": name, "ts": start_us, "dur": end_us - start_us, "args": args}
        self.lines.append(json.dumps(event))


class ProfiledNcnnSession(NcnnSession):
    """A session that records the time of each layer of each inference."""

    def __init__(self, net: Any, signature: NcnnSignature, *, graph: str, folder: Path) -> None:  # noqa: ANN401 - ncnn ships no types
        """Wrap a loaded network.

        Args:
            net: The network; it must keep the tensors that an extractor has computed.
            signature: Its tensors.
            graph: The text of its graph file.
            folder: Where the record is written.
        """
        super().__init__(net, signature)
        self._layers = _read_layers(graph)
        self._folder = folder
        self._recording = _Recording()

    def end_profiling(self) -> Path:
        """Write the record; see `ProfiledSession.end_profiling`."""
        path = self._folder / "profile.json"
        path.write_text("[\n" + ",\n".join(self._recording.lines) + "\n]\n", encoding="utf-8")
        return path

    def _infer(self, inputs: Tensors, outputs: Sequence[str], *, position: int) -> dict[str, Array]:
        recording = self._recording
        begin_us = recording.now_us()
        extractor = self._feed(inputs, position=position)
        extractor.set_light_mode(False)
        for index, layer in enumerate(self._layers):
            start_us = recording.now_us()
            status, mat = extractor.extract(layer.output, _AS_COMPUTED)
            end_us = recording.now_us()
            self._check_status(status, layer.name)
            shape = [size for size in (mat.c * mat.elempack, mat.d, mat.h, mat.w) if size > 1] or [1]
            args = {"op_name": layer.kind, "node_index": index, "output_type_shape": [{"float": shape}]}
            recording.add(f"{layer.name}_kernel_time", category="Node", start_us=start_us, end_us=end_us, args=args)
        answers = {name: self._extract(extractor, self._outputs[name]) for name in outputs}
        recording.add("model_run", category="Session", start_us=begin_us, end_us=recording.now_us(), args={})
        return answers


def _read_layers(graph: str) -> list[_Layer]:
    """The layers that compute something, in order of execution."""
    layers = []
    for line in graph.splitlines()[_HEADER_LINES:]:
        words = line.split()
        if not words or line.startswith("#") or words[0] == "Input":
            continue
        first_output = 4 + int(words[2])
        layers.append(_Layer(kind=words[0], name=words[1], output=words[first_output]))
    return layers
