"""Networks with published LiteRT times on a Raspberry Pi 4, from their papers; weights do not matter for time.

Detectors end in the decoupled heads of YOLOv8, as YOLOBench gives them all, here for 20 classes and without what
decodes boxes. A channel split is two convolutions of half the width, which is the same work. YOLOv6 has the neck of its
paper; YOLOBench's has a further level and more work, which is a part of the error of that network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.latency_model.networks import Activation, Builder, Network

_CLASSES = 20
_BINS = 16
_IMAGENET_CLASSES = 1000


def yolov5n(side: int) -> Network:
    """YOLOv5 (release 6.0, depth 0.33, width 0.25) for square images."""
    return _csp_detector(side, first_kernel=6, block=_c3, depths=(1, 2, 3, 1), reduced=True)


def yolov8n(side: int) -> Network:
    """YOLOv8 (depth 0.33, width 0.25) for square images."""
    return _csp_detector(side, first_kernel=3, block=_c2f, depths=(1, 2, 2, 1), reduced=False)


def _csp_detector(
    side: int,
    *,
    first_kernel: int,
    block: Callable[..., int],
    depths: Sequence[int],
    reduced: bool,
) -> Network:
    """A backbone of cross-stage blocks, a path down and up again, and the heads; `reduced` halves before it widens."""
    builder = Builder((3, side, side))
    builder.conv(16, first_kernel, 2, activation="silu")
    levels = []
    for width, depth in zip((32, 64, 128, 256), depths, strict=True):
        builder.conv(width, 3, 2, activation="silu")
        levels.append(block(builder, builder.last, width, depth, shortcut=True))
    third, fourth = levels[1], levels[2]
    fifth = _pyramid_pool(builder, 256, "silu")
    tops = []
    for width, beside in ((128, fourth), (64, third)):
        if reduced:
            tops.append(builder.conv(width, activation="silu"))
        else:
            tops.append(builder.last)
        builder.pool("upsample", 1, 2)
        builder.merge("concat", builder.last, beside)
        block(builder, builder.last, width, 1, shortcut=False)
    if not reduced:
        tops = [fifth, tops[1]]
    outputs = [builder.last]
    for width, beside in ((64, tops[1]), (128, tops[0])):
        builder.conv(width, 3, 2, activation="silu")
        builder.merge("concat", builder.last, beside)
        outputs.append(block(builder, builder.last, 2 * width, 1, shortcut=False))
    _heads(builder, outputs, "silu")
    return builder.network()


def yolov6(side: int, *, depth: float, width: float) -> Network:
    """YOLOv6-S as it is deployed, each block one 3 x 3 convolution, scaled in depth and width.

    Args:
        side: Of its square images.
        depth: On the number of blocks.
        width: On the channels.
    """
    builder = Builder((3, side, side))

    def blocks(channels: int, count: int) -> int:
        for _ in range(max(1, round(count * depth))):
            builder.conv(round(channels * width), 3)
        return builder.last

    builder.conv(round(64 * width), 3, 2)
    levels = []
    for channels, count in ((128, 6), (256, 12), (512, 18), (1024, 6)):
        builder.conv(round(channels * width), 3, 2)
        levels.append(blocks(channels, count))
    _pyramid_pool(builder, round(1024 * width), "relu")
    tops = []
    for channels, beside in ((256, levels[2]), (128, levels[1])):
        tops.append(builder.conv(round(channels * width)))
        builder.pool("upsample", 1, 2)
        builder.merge("concat", builder.last, beside)
        blocks(channels, 12)
    outputs = [builder.last]
    for channels, beside in ((128, tops[1]), (256, tops[0])):
        builder.conv(round(channels * width), 3, 2)
        builder.merge("concat", builder.last, beside)
        outputs.append(blocks(2 * channels, 12))
    _heads(builder, outputs, "relu")
    return builder.network()


def yolov7(side: int, *, width: float) -> Network:
    """YOLOv7 (Wang et al., 2022) as it is deployed, each re-parameterised convolution a plain one.

    Args:
        side: Of its square images.
        width: On the channels.
    """
    builder = Builder((3, side, side))

    def conv(channels: int, kernel: int = 1, stride: int = 1, *, source: int | None = None) -> int:
        return builder.conv(round(channels * width), kernel, stride, activation="silu", source=source)

    def aggregate(channels: int, *, beside: int, stacked: int, used: Sequence[int]) -> int:
        """Two convolutions beside each other and four in a row after the second; some of the six are joined."""
        source = builder.last
        parts = [conv(beside, source=source) for _ in range(2)]
        for _ in range(4):
            parts.append(conv(stacked, 3, source=parts[-1]))
        builder.merge("concat", *(parts[position] for position in used))
        return conv(channels)

    def halve(channels: int, *others: int) -> int:
        source = builder.last
        builder.pool("max_pool", 2, 2)
        pooled = conv(channels)
        conv(channels, source=source)
        return builder.merge("concat", conv(channels, 3, 2), pooled, *others)

    conv(32, 3)
    conv(64, 3, 2)
    conv(64, 3)
    conv(128, 3, 2)
    in_backbone, in_neck = (0, 1, 3, 5), range(6)
    levels = [aggregate(256, beside=64, stacked=64, used=in_backbone)]
    for narrowed, inner, channels in ((128, 128, 512), (256, 256, 1024), (512, 256, 1024)):
        halve(narrowed)
        levels.append(aggregate(channels, beside=inner, stacked=inner, used=in_backbone))
    fifth = _cross_stage_pyramid_pool(builder, round(512 * width))
    tops = []
    for channels, beside in ((256, levels[2]), (128, levels[1])):
        conv(channels)
        raised = builder.pool("upsample", 1, 2)
        builder.merge("concat", conv(channels, source=beside), raised)
        tops.append(aggregate(channels, beside=channels, stacked=channels // 2, used=in_neck))
    outputs = [builder.last]
    for narrowed, other in ((128, tops[0]), (256, fifth)):
        halve(narrowed, other)
        outputs.append(aggregate(2 * narrowed, beside=2 * narrowed, stacked=narrowed, used=in_neck))
    repeated = [conv(channels, 3, source=output) for channels, output in zip((256, 512, 1024), outputs, strict=True)]
    _heads(builder, repeated, "silu")
    return builder.network()


def _c3(builder: Builder, source: int, width: int, depth: int, *, shortcut: bool) -> int:
    half = width // 2
    beside = builder.conv(half, activation="silu", source=source)
    last = builder.conv(half, activation="silu", source=source)
    for _ in range(depth):
        builder.conv(half, activation="silu", source=last)
        made = builder.conv(half, 3, activation="silu")
        last = builder.merge("add", last, made) if shortcut else made
    builder.merge("concat", last, beside)
    return builder.conv(width, activation="silu")


def _c2f(builder: Builder, source: int, width: int, depth: int, *, shortcut: bool) -> int:
    half = width // 2
    parts = [builder.conv(half, activation="silu", source=source) for _ in range(2)]
    for _ in range(depth):
        builder.conv(half, 3, activation="silu", source=parts[-1])
        made = builder.conv(half, 3, activation="silu")
        parts.append(builder.merge("add", parts[-1], made) if shortcut else made)
    builder.merge("concat", *parts)
    return builder.conv(width, activation="silu")


def _pyramid_pool(builder: Builder, width: int, activation: Activation) -> int:
    """Three poolings in a row, beside what they pool."""
    first = builder.conv(width // 2, activation=activation)
    pooled = [first, *(builder.pool("max_pool", 5, 1) for _ in range(3))]
    builder.merge("concat", *pooled)
    return builder.conv(width, activation=activation)


def _cross_stage_pyramid_pool(builder: Builder, width: int) -> int:
    """Poolings of three sizes beside what they pool, between convolutions, and one convolution past all of them."""
    past = builder.conv(width, activation="silu", source=(source := builder.last))
    builder.conv(width, activation="silu", source=source)
    builder.conv(width, 3, activation="silu")
    pooled = builder.conv(width, activation="silu")
    builder.merge("concat", pooled, *(builder.pool("max_pool", kernel, 1, source=pooled) for kernel in (5, 9, 13)))
    builder.conv(width, activation="silu")
    builder.merge("concat", builder.conv(width, 3, activation="silu"), past)
    return builder.conv(width, activation="silu")


def _heads(builder: Builder, levels: Sequence[int], activation: Activation) -> None:
    """Two branches of two 3 x 3 convolutions for each level: sides of boxes as bins, and classes."""
    first = builder.channels(levels[0])
    boxes, classes = max(16, first // 4, 4 * _BINS), max(first, _CLASSES)
    for level in levels:
        for width, answer in ((boxes, 4 * _BINS), (classes, _CLASSES)):
            builder.conv(width, 3, activation=activation, source=level)
            builder.conv(width, 3, activation=activation)
            builder.conv(answer, activation="none")


def mobilenet_v1(side: int) -> Network:
    """Howard et al., 2017, at width 1."""
    builder = Builder((3, side, side))
    builder.conv(32, 3, 2, activation="relu6")
    for width, stride in (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ):
        builder.depthwise(3, stride)
        builder.conv(width, activation="relu6")
    return _classify(builder)


def mobilenet_v2(side: int) -> Network:
    """Sandler et al., 2018, at width 1."""
    builder = Builder((3, side, side))
    builder.conv(32, 3, 2, activation="relu6")
    for expansion, width, count, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for number in range(count):
            stride = first_stride if number == 0 else 1
            _inverted(builder, builder.channels() * expansion, width, stride, activation="relu6")
    builder.conv(1280, activation="relu6")
    return _classify(builder)


def mobilenet_v3_large(side: int) -> Network:
    """Howard et al., 2019: kernel, expansion, output, squeeze, activation, stride of each block."""
    rows = (
        (3, 16, 16, False, "relu", 1), (3, 64, 24, False, "relu", 2), (3, 72, 24, False, "relu", 1),
        (5, 72, 40, True, "relu", 2), (5, 120, 40, True, "relu", 1), (5, 120, 40, True, "relu", 1),
        (3, 240, 80, False, "hardswish", 2), (3, 200, 80, False, "hardswish", 1), (3, 184, 80, False, "hardswish", 1),
        (3, 184, 80, False, "hardswish", 1), (3, 480, 112, True, "hardswish", 1), (3, 672, 112, True, "hardswish", 1),
        (5, 672, 160, True, "hardswish", 2), (5, 960, 160, True, "hardswish", 1), (5, 960, 160, True, "hardswish", 1),
    )  # fmt: skip
    return _mobilenet_v3(side, rows, last=960, features=1280)


def mobilenet_v3_small(side: int) -> Network:
    """Howard et al., 2019: kernel, expansion, output, squeeze, activation, stride of each block."""
    rows = (
        (3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
        (5, 96, 40, True, "hardswish", 2), (5, 240, 40, True, "hardswish", 1), (5, 240, 40, True, "hardswish", 1),
        (5, 120, 48, True, "hardswish", 1), (5, 144, 48, True, "hardswish", 1), (5, 288, 96, True, "hardswish", 2),
        (5, 576, 96, True, "hardswish", 1), (5, 576, 96, True, "hardswish", 1),
    )  # fmt: skip
    return _mobilenet_v3(side, rows, last=576, features=1024)


def _mobilenet_v3(
    side: int, rows: Sequence[tuple[int, int, int, bool, Activation, int]], *, last: int, features: int
) -> Network:
    builder = Builder((3, side, side))
    builder.conv(16, 3, 2, activation="hardswish")
    for kernel, expanded, width, squeeze, activation, stride in rows:
        _inverted(builder, expanded, width, stride, activation=activation, kernel=kernel, squeeze=squeeze)
    builder.conv(last, activation="hardswish")
    builder.pool("global_pool")
    builder.conv(features, activation="hardswish")
    builder.linear(_IMAGENET_CLASSES)
    return builder.network()


def _inverted(
    builder: Builder,
    expanded: int,
    width: int,
    stride: int,
    *,
    activation: Activation,
    kernel: int = 3,
    squeeze: bool = False,
) -> None:
    before = builder.last
    if expanded != builder.channels():
        builder.conv(expanded, activation=activation)
    builder.depthwise(kernel, stride, activation=activation)
    if squeeze:
        whole = builder.last
        builder.pool("global_pool")
        builder.conv(max(8, round(expanded / 4 / 8) * 8))
        builder.conv(expanded, activation="sigmoid")
        builder.merge("multiply", whole, builder.last)
    builder.conv(width, activation="none")
    if stride == 1 and builder.channels(before) == width:
        builder.merge("add", before, builder.last)


def _classify(builder: Builder) -> Network:
    builder.pool("global_pool")
    builder.linear(_IMAGENET_CLASSES)
    return builder.network()
