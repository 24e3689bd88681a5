"""What is known of an ncnn model without ncnn: its signature, and which layers do without the Winograd algorithm.

A model is a pair of files with one stem, `NAME.param` (the graph, text) and `NAME.bin` (the weights). ncnn knows
neither the names of the model's tensors nor their shapes nor a batch dimension, so the compiler appends them to the
graph as one line, `#drupelet {...}`, which ncnn itself does not read; `NcnnSignature` is its content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from drupelet_shared.tensors import Datatype, TensorSpec

SIGNATURE_MARK = "#drupelet "
# The Winograd algorithm keeps 36 int16 values for 9 int8 weights.
_COPY_BYTES = 8
_LEAST_ROOM_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class NcnnTensor:
    """One input or output of a model.

    Attributes:
        spec: Its name, datatype and shape in the package.
        blob: Its name in ncnn's graph.
        batch_axis: The dimension of the shape that ncnn's tensor lacks; None where it has all of them.
    """

    spec: TensorSpec
    blob: str
    batch_axis: int | None


@dataclass(frozen=True, slots=True)
class NcnnSignature:
    """The signature line of a graph file: what the model is besides its graph.

    Attributes:
        inputs: The inputs, in the model's order.
        outputs: The outputs, in the model's order.
        weights_sha256: The digest of the weights file, so that the digest of the graph file covers both.
    """

    inputs: tuple[NcnnTensor, ...]
    outputs: tuple[NcnnTensor, ...]
    weights_sha256: str

    def to_line(self) -> str:
        """Return the last line of the graph file; `NcnnSignature.parse(signature.to_line()) == signature`."""
        document = {
            "inputs": [_tensor_to_json(tensor) for tensor in self.inputs],
            "outputs": [_tensor_to_json(tensor) for tensor in self.outputs],
            "weights_sha256": self.weights_sha256,
        }
        return f"{SIGNATURE_MARK}{json.dumps(document, sort_keys=True)}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the signature from the text of a graph file.

        Raises:
            ValueError: The text has no signature, or a malformed one.
        """
        line = next((line for line in reversed(text.splitlines()) if line.startswith(SIGNATURE_MARK)), None)
        if line is None:
            raise ValueError(f"the line {SIGNATURE_MARK.strip()!r} with the tensors' names and shapes is missing")
        try:
            document = json.loads(line[len(SIGNATURE_MARK) :])
            inputs, outputs = (tuple(map(_tensor_from_json, document[key])) for key in ("inputs", "outputs"))
            return cls(inputs, outputs, str(document["weights_sha256"]))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"the line {SIGNATURE_MARK.strip()!r} is malformed: {error}") from error


def _tensor_to_json(tensor: NcnnTensor) -> dict[str, object]:
    spec = tensor.spec
    return {
        "name": spec.name,
        "datatype": spec.datatype.value,
        "shape": list(spec.shape),
        "blob": tensor.blob,
        "batch_axis": tensor.batch_axis,
    }


def _tensor_from_json(document: dict[str, Any]) -> NcnnTensor:
    shape = tuple(document["shape"])
    spec = TensorSpec(name=document["name"], datatype=Datatype(document["datatype"]), shape=shape)
    if spec.datatype is not Datatype.FP32:
        raise ValueError(f"tensor {spec.name!r} has datatype {spec.datatype.value}: ncnn takes and gives FP32")
    batch_axis = document["batch_axis"]
    if batch_axis is not None and not 0 <= batch_axis < len(shape):
        raise ValueError(f"tensor {spec.name!r} has batch axis {batch_axis}: its shape has {len(shape)} dimensions")
    return NcnnTensor(spec, str(document["blob"]), batch_axis)


def choose_without_winograd(weights: Mapping[str, int], candidates: Mapping[str, int]) -> frozenset[str]:
    """Return the candidates whose copies there is no room for.

    The algorithm keeps 36 int16 values for 9 int8 weights. Together these copies take at most twice the bytes of the
    weights; layers with few weights come first, as they have large images, where it gains most.

    Args:
        weights: The weights of each int8 convolution that is not depthwise.
        candidates: Those of them that the algorithm can compute: 3 x 3 at stride 1.
    """
    room = max(2 * sum(weights.values()), _LEAST_ROOM_BYTES)
    without = set()
    for name, count in sorted(candidates.items(), key=lambda layer: layer[1]):
        room -= _COPY_BYTES * count
        if room < 0:
            without.add(name)
    return frozenset(without)
