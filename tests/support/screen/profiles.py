"""A profile as a device would send it, of a small convolutional network with a branch."""

from __future__ import annotations

from drupelet_shared.contract.measuring import OperatorTime, ProfileReport

_LAYERS = (
    ("/stem/conv/Conv", "QLinearConv", 2.1, None),
    ("/stem/pool/MaxPool", "MaxPool", 0.3, None),
    ("/layer1/block0/conv1/Conv", "QLinearConv", 1.7, None),
    ("/layer1/block0/conv2/Conv", "QLinearConv", 1.6, None),
    ("/layer1/block0/Add", "QLinearAdd", 0.2, None),
    ("/layer1/block1/conv1/Conv", "QLinearConv", 1.4, None),
    ("/layer1/block1/conv2/Conv", "QLinearConv", 1.5, None),
    ("/layer1/block1/Add", "QLinearAdd", 0.2, None),
    ("/head/choose", "If", 0.9, None),
    ("/head/small/Gemm", "Gemm", 0.6, 8),
    ("/head/small/Softmax", "Softmax", 0.1, 8),
    ("output_DequantizeLinear", "DequantizeLinear", 0.05, None),
)


def make_profile() -> ProfileReport:
    operators = []
    for position, (name, kind, mean_ms, parent) in enumerate(_LAYERS):
        inside = sum(layer[2] for layer in _LAYERS if layer[3] == position)
        operators.append(
            OperatorTime(
                name=name,
                type=kind,
                output="uint8 [1, 16, 32, 32]",
                calls=1.0,
                mean_ms=mean_ms,
                self_ms=mean_ms - inside,
                parent=parent,
            )
        )
    return ProfileReport(
        model="digits",
        version="1.2.0",
        release=7,
        variant="ort-static-wi8-ai8",
        engine="onnxruntime",
        engine_version="1.32.0",
        threads=2,
        runs=30,
        mean_ms=10.4,
        p50_ms=10.2,
        p99_ms=12.9,
        operators=tuple(operators),
    )
