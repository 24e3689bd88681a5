"""Networks whose layers fill the latency table: pieces of the usual families, at random widths and resolutions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from benchmarks.latency_model.networks import Activation, Builder, Network

_WIDTHS = (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
_SIZES = (7, 10, 14, 20, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160)
_LEAST_LAYERS, _MOST_LAYERS = 4, 16
# A network with this many times the multiply-accumulates asked for is left out.
_MOST_MACS = 4
_STEM_SIZES = (96, 128, 160, 192, 224)

# Probes from this number on have maps of few pixels, as the last layers of networks for small images do.
FIRST_SMALL = 1000
_SMALL_SIZES = (1, 1, 2, 2, 3, 4, 4, 5, 6, 7)
_IMAGE_SIZES = (8, 10, 12, 16, 20, 24, 28, 32)
_LEAST_WIDTH, _MOST_WIDTH = 8, 512
_MOST_SMALL_LAYERS = 10

# Probes from this number on begin with windows over the few channels of an image, whose kernels fill no tile.
FIRST_STEM = 2000
_STEM_WIDTHS = (8, 8, 12, 16, 24, 32, 48, 64)
_STEM_SIDES = (24, 28, 32, 48, 64, 96, 128, 160, 224)
# From this number on they are as large as those of networks for ImageNet.
FIRST_LARGE_STEM = 3000
_LARGE_STEM_SIDES = (160, 192, 224, 224, 256)
_LARGE_STEM_WIDTHS = (32, 48, 64, 64)
_MOST_LARGE_MACS = 9


def probe(seed: int, *, macs: float) -> Network:
    """Return the network of a number; the same number gives the same network.

    Args:
        seed: Which one; the families take turns. From `FIRST_SMALL` on they are those of small maps, from
            `FIRST_STEM` on those that differ in their first layer.
        macs: About how many multiply-accumulates its convolutions have.
    """
    chance = random.Random(seed)
    families = _families(seed)
    build = families[seed % len(families)]
    while True:
        network = build(chance, macs)
        most = _MOST_MACS if seed < FIRST_LARGE_STEM else _MOST_LARGE_MACS
        if count_macs(network) <= most * macs:
            return network


def _families(seed: int) -> tuple[Callable[[random.Random, float], Network], ...]:
    if seed >= FIRST_STEM:
        return (_stem,) if seed < FIRST_LARGE_STEM else (_large_stem,)
    return _FAMILIES if seed < FIRST_SMALL else _SMALL_FAMILIES


def count_macs(network: Network) -> int:
    """Return the multiply-accumulates of convolutions and linear layers."""
    total = 0
    for position, (layer, shape) in enumerate(zip(network.layers, network.shapes(), strict=True)):
        if layer.kind in {"convolution", "linear"}:
            incoming, height, width = network.input_shape(position)
            window = layer.kernel**2 if layer.kind == "convolution" else height * width
            total += math.prod(shape) * incoming // layer.groups * window
    return total


def _start(chance: random.Random, *, sizes: tuple[int, ...] = _SIZES) -> Builder:
    """Begin with a shape that has a plausible number of values: wide layers are small ones."""
    while True:
        channels, size = chance.choice(_WIDTHS), chance.choice(sizes)
        if 2_000 <= channels * size**2 <= 400_000:
            return Builder((channels, size, size))


def _grow(builder: Builder, step: Callable[[], None], macs: float) -> Network:
    """Repeat a step until the network has enough to compute."""
    while True:
        step()
        network = builder.network()
        count = len(network.layers)
        _, height, width = network.shapes()[-1]
        full = count >= _LEAST_LAYERS and count_macs(network) > macs
        if full or count >= _MOST_LAYERS or height < 4 or width < 4:
            return network


def _width(chance: random.Random, near: int) -> int:
    close = [width for width in _WIDTHS if near / 2.1 <= width <= near * 2.1]
    return chance.choice(close)


def _residual(chance: random.Random, macs: float) -> Network:
    builder = _start(chance)

    def step() -> None:
        kernel = chance.choice((1, 3, 3, 3, 3, 5))
        width = _width(chance, builder.channels())
        first = builder.conv(width, kernel, chance.choice((1, 1, 2)), activation=chance.choice(("relu", "relu6")))
        builder.conv(width, 3, activation="none")
        builder.merge("add", first, builder.last)

    return _grow(builder, step, macs)


def _inverted(chance: random.Random, macs: float) -> Network:
    builder = _start(chance)
    builder.conv(min(_WIDTHS, key=lambda width: abs(width - builder.channels() / 3)), activation="none")

    def step() -> None:
        before, width = builder.last, builder.channels()
        stride, activation = chance.choice((1, 1, 2)), chance.choice(("relu6", "relu6", "relu", "hardswish"))
        builder.conv(width * chance.choice((2, 3, 4, 6)), activation=activation)
        builder.depthwise(chance.choice((3, 3, 5)), stride, activation=activation)
        out = width if stride == 1 and chance.random() < 0.6 else _width(chance, width)
        builder.conv(out, activation="none")
        if stride == 1 and out == width:
            builder.merge("add", before, builder.last)

    return _grow(builder, step, macs)


def _cross_stage(chance: random.Random, macs: float) -> Network:
    builder = _start(chance)
    activation: Activation = chance.choice(("silu", "silu", "relu", "hardswish"))

    def step() -> None:
        width = _width(chance, builder.channels())
        whole = builder.conv(width, chance.choice((1, 3)), chance.choice((1, 2)), activation=activation)
        half = max(8, width // 2)
        left = builder.conv(half, activation=activation, source=whole)
        right = builder.conv(half, activation=activation, source=whole)
        builder.conv(half, 3, activation=activation)
        if chance.random() < 0.5:
            builder.merge("add", right, builder.last)
        builder.merge("concat", left, builder.last)
        if chance.random() < 0.3:
            pooled = builder.pool("max_pool", 5, 1)
            builder.merge("concat", pooled - 1, pooled)
        if chance.random() < 0.3 and math.prod(builder.network().shapes()[-1]) < 60_000:
            builder.pool("upsample", 1, 2)

    return _grow(builder, step, macs)


def _stem_and_head(chance: random.Random, macs: float) -> Network:
    builder = Builder((chance.choice((1, 3, 3, 3)), *[chance.choice(_STEM_SIZES)] * 2))
    kernel = chance.choice((3, 3, 5, 7))
    size = builder.network().shape[1]
    builder.conv(chance.choice((8, 16, 24, 32, 48, 64)) if size < 190 else chance.choice((16, 32)), kernel, 2)
    if chance.random() < 0.5:
        builder.pool("max_pool", chance.choice((2, 3)), 2)

    def step() -> None:
        width = _width(chance, builder.channels())
        if width % 4 == 0 and builder.channels() % 4 == 0 and chance.random() < 0.3:
            builder.conv(width, 3, chance.choice((1, 2)), groups=chance.choice((2, 4)))
        else:
            builder.conv(width, chance.choice((1, 3)), chance.choice((1, 2)))
        if chance.random() < 0.2:
            builder.pool("average_pool", 2, 2)

    _grow(builder, step, 0.7 * macs)
    before = builder.last
    builder.pool("global_pool")
    builder.conv(max(8, builder.channels() // 4))
    builder.conv(builder.channels(before), activation="sigmoid")
    builder.merge("multiply", before, builder.last)
    builder.pool("global_pool")
    if chance.random() < 0.5:
        builder.linear(chance.choice((256, 512, 1024)))
    builder.linear(chance.choice((10, 100, 1000)))
    return builder.network()


def _wide(chance: random.Random, macs: float) -> Network:
    builder = Builder((chance.choice((128, 192, 256, 384, 512)), *[chance.choice((7, 10, 14, 20))] * 2))

    def step() -> None:
        builder.conv(_width(chance, builder.channels()), chance.choice((1, 3)))

    return _grow(builder, step, 2 * macs)


_FAMILIES = (_inverted, _residual, _cross_stage, _stem_and_head, _inverted, _residual, _cross_stage, _wide)


def _any_width(chance: random.Random, *, most: int = _MOST_WIDTH) -> int:
    """A width as pruned networks have them: mostly a multiple of 8, at times any number."""
    # Wide layers are those that count: more of them than a logarithm alone would give.
    width = _LEAST_WIDTH * (most / _LEAST_WIDTH) ** (chance.random() ** 0.7)
    return max(_LEAST_WIDTH, round(width / 8) * 8) if chance.random() < 0.8 else round(width)


def _small_residual(chance: random.Random, macs: float) -> Network:
    size = chance.choice(_SMALL_SIZES)
    builder = Builder((_any_width(chance), size, size))
    while count_macs(builder.network()) < macs / 2 and len(builder.network().layers) < _MOST_SMALL_LAYERS:
        before, width, stride = builder.last, _any_width(chance), chance.choice((1, 1, 2))
        first = builder.conv(_any_width(chance), 3, stride)
        shortcut = builder.conv(width, 1, stride, activation="none", source=before)
        second = builder.conv(width, 3, activation="none", source=first)
        builder.merge("add", second, shortcut)
    return _finish(builder, chance)


def _small_inverted(chance: random.Random, macs: float) -> Network:
    size = chance.choice(_SMALL_SIZES)
    builder = Builder((_any_width(chance, most=320), size, size))
    while count_macs(builder.network()) < macs / 2 and len(builder.network().layers) < _MOST_SMALL_LAYERS:
        activation: Activation = chance.choice(("relu6", "relu6", "relu", "hardswish", "silu"))
        builder.conv(_any_width(chance, most=1024), activation=activation)
        builder.depthwise(chance.choice((3, 3, 5)), chance.choice((1, 1, 2)), activation=activation)
        builder.conv(_any_width(chance, most=320), activation="none")
    return _finish(builder, chance)


def _small_plain(chance: random.Random, macs: float) -> Network:
    size = chance.choice(_SMALL_SIZES)
    builder = Builder((_any_width(chance), size, size))
    count = chance.randint(_LEAST_LAYERS, _MOST_SMALL_LAYERS)
    while count_macs(builder.network()) < macs and len(builder.network().layers) < count:
        _small_step(builder, chance)
    return _finish(builder, chance)


def _small_step(builder: Builder, chance: random.Random) -> None:
    width, kernel, stride = _any_width(chance), chance.choice((1, 1, 3, 3, 5)), chance.choice((1, 1, 1, 2))
    if chance.random() < 0.15:
        before = builder.last
        builder.conv(width, source=before)
        builder.merge("concat", before, builder.last)
    elif chance.random() < 0.15:
        builder.pool(chance.choice(("max_pool", "average_pool")), 2, 2)
    else:
        builder.conv(width, kernel, stride, activation=chance.choice(("relu", "relu", "none", "silu")))


def _small_image(chance: random.Random, macs: float) -> Network:
    """A network for images of a few pixels, which ends in maps of a few."""
    size = chance.choice(_IMAGE_SIZES)
    builder = Builder((chance.choice((1, 3, 3)), size, size))
    width = chance.choice((8, 12, 16, 24, 32))
    builder.conv(width, 3, chance.choice((1, 1, 2)))
    while len(builder.network().layers) < _MOST_SMALL_LAYERS and builder.network().shapes()[-1][1] > 2:
        stride = chance.choice((1, 2))
        width = min(_MOST_WIDTH, width * stride + 8 * chance.randint(0, 2))
        if chance.random() < 0.3:
            builder.depthwise(3, stride)
            builder.conv(width)
        else:
            builder.conv(width, 3, stride)
        if count_macs(builder.network()) > macs:
            break
    return _finish(builder, chance)


def _stem(chance: random.Random, _macs: float) -> Network:
    return _begin(chance, _STEM_SIDES, _STEM_WIDTHS, kernels=(3, 3, 5, 7, 7), strides=(1, 2, 2))


def _large_stem(chance: random.Random, _macs: float) -> Network:
    return _begin(chance, _LARGE_STEM_SIDES, _LARGE_STEM_WIDTHS, kernels=(3, 7), strides=(2,))


def _begin(
    chance: random.Random,
    sides: tuple[int, ...],
    widths: tuple[int, ...],
    *,
    kernels: tuple[int, ...],
    strides: tuple[int, ...],
) -> Network:
    """A first layer on an image, and a little behind it."""
    side = chance.choice(sides)
    builder = Builder((chance.choice((1, 3, 3, 3)), side, side))
    activation: Activation = chance.choice(("relu", "relu", "silu", "none"))
    width, kernel, stride = chance.choice(widths), chance.choice(kernels), chance.choice(strides)
    builder.conv(width, kernel, stride, activation=activation)
    if chance.random() < 0.5:
        builder.pool("max_pool", chance.choice((2, 3)), 2)
    builder.conv(_any_width(chance, most=64), chance.choice((1, 3)), 2)
    builder.pool("global_pool")
    builder.linear(10)
    return builder.network()


def _finish(builder: Builder, chance: random.Random) -> Network:
    """End as a classifier does: averaged over the map, or flattened where that stays small."""
    if math.prod(builder.network().shapes()[-1]) > 4096 or chance.random() < 0.6:
        builder.pool("global_pool")
    if chance.random() < 0.4:
        builder.linear(_any_width(chance))
    builder.linear(chance.choice((10, 10, 100, 1000)))
    return builder.network()


_SMALL_FAMILIES = (_small_residual, _small_inverted, _small_plain, _small_image)
