"""What a reader would look for in the comparison of engines and does not find, and why."""

from __future__ import annotations

LEFT_OUT = {
    "MNN, static int8": (
        "the offline quantizer in MNN 3.6.1's wheel ends with a segmentation fault: method KL on both networks, EMA on "
        "ResNet18; the converter's int8 weights are measured instead, which a Cortex-A72 computes with in float32"
    ),
    "ExecuTorch": (
        "tried and not measured: version 1.5.1 installs beside PyTorch (1.5 GB) and answers as PyTorch does on "
        "MobileNetV2; its float kernels are XNNPACK's, as LiteRT's are"
    ),
}
