"""The oldest ONNX Runtime that loads a model file, from its operator sets, IR version and operators.

The tables were made with the wheels of ONNX Runtime 1.20.0 to 1.30.0: by loading files of each operator set and IR
version, and by listing the CPU kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from drupelet_host.onnx_files.graph import walk_nodes

_ONNX = frozenset({"", "ai.onnx"})
_CONTRIB = "com.microsoft"
# The newest of each that a release loads; older ones load in every release here.
_OPSETS = {21: "1.20", 22: "1.21", 23: "1.23", 25: "1.24", 26: "1.25"}
_IR_VERSIONS = {10: "1.20", 11: "1.23", 13: "1.24"}
CONTRIB_SINCE = {
    "QMoE": "1.23",
    "MoE": "1.24",
    **dict.fromkeys(("CausalConvWithState", "LinearAttention"), "1.26"),
    "MRotaryEmbedding": "1.29",
    **dict.fromkeys(("EngramGate", "GatedAdd", "GatedRMSNorm", "LinearAttentionGate", "NGramHashMapping"), "1.30"),
}


def find_min_version(path: Path, *, oldest: str) -> str:
    """Return the oldest version of ONNX Runtime that loads a file.

    Args:
        path: The ONNX file.
        oldest: The version below which packages for the target never ask.
    """
    needed = [oldest, *_list_needs(onnx.load(path, load_external_data=False))]
    return max(needed, key=_numbers)


def _list_needs(model: onnx.ModelProto) -> Iterator[str]:
    yield _look_up(_IR_VERSIONS, model.ir_version)
    for opset in model.opset_import:
        if opset.domain in _ONNX:
            yield _look_up(_OPSETS, opset.version)
    for node in walk_nodes(model.graph.node):
        if node.domain == _CONTRIB and node.op_type in CONTRIB_SINCE:
            yield CONTRIB_SINCE[node.op_type]


def _look_up(table: dict[int, str], needed: int) -> str:
    """Return the first release that reaches a number; the installed one, which loaded the file, beyond the table."""
    import onnxruntime as ort  # noqa: PLC0415 - only a number beyond the table needs it

    installed = ".".join(str(ort.__version__).split(".")[:2])
    return next((version for number, version in sorted(table.items()) if number >= needed), installed)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
