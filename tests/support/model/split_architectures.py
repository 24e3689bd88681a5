"""Small networks after well-known ones whose code gates, splits, joins or shuffles channels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from support.model.architectures import IMAGE_SHAPE, SIGNAL_SHAPE, Architecture

_BINS = 4


def _conv(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.SiLU())


class Gate(nn.Module):
    """Squeeze and excitation (Hu et al., 2018)."""

    def __init__(self, width: int, gate: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.reduce, self.expand, self.gate = nn.Conv2d(width, 16, 1), nn.Conv2d(16, width, 1), gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class Bottleneck(nn.Module):
    """An inverted residual with a gate, of MobileNetV3 and EfficientNet."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, act: Callable[[], nn.Module], gate: Callable) -> None:
        super().__init__()
        hidden = 3 * inputs
        self.same = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), act(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), act(),
            Gate(hidden, gate), nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.same else self.body(x)


def _gated(act: Callable[[], nn.Module], gate: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), act(),
        Bottleneck(16, 24, stride=2, act=act, gate=gate), Bottleneck(24, 24, stride=1, act=act, gate=gate),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 32), act(), nn.Linear(32, 5),
    )  # fmt: skip


class ImageNorm(nn.LayerNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.narrow(functional.gelu(self.widen(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))))
        return x + (self.scale * hidden).permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 2, 2), ImageNorm(16), ConvNeXtBlock(16), ConvNeXtBlock(16),
        ImageNorm(16), nn.Conv2d(16, 32, 2, 2), ConvNeXtBlock(32), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.LayerNorm(32), nn.Linear(32, 5),
    )  # fmt: skip


def _shuffle(x: torch.Tensor, groups: int) -> torch.Tensor:
    count, channels, height, width = x.shape
    x = x.view(count, groups, channels // groups, height, width)
    return x.transpose(1, 2).reshape(count, channels, height, width)


class ShuffleUnit(nn.Module):
    """The unit of ShuffleNetV2 (Ma et al., 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        depthwise = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.branch = nn.Sequential(_conv(half, half, 1), depthwise, nn.BatchNorm2d(half), _conv(half, half, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept, changed = x.chunk(2, dim=1)
        return _shuffle(torch.cat([kept, self.branch(changed)], dim=1), 2)


class GroupedUnit(nn.Module):
    """The unit of ShuffleNetV1 (Zhang et al., 2018): a grouped convolution behind a shuffle."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.first, self.groups = _conv(width, width, 1, groups=groups), groups
        self.depthwise, self.last = _conv(width, width, groups=width), _conv(width, width, 1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.last(self.depthwise(_shuffle(self.first(x), self.groups))))


def shufflenet() -> nn.Module:
    return nn.Sequential(
        _conv(3, 32, stride=2), ShuffleUnit(32), ShuffleUnit(32), _conv(32, 64, stride=2), GroupedUnit(64, 4),
        _conv(64, 64, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5),
    )  # fmt: skip


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = _conv(3, 16), _conv(16, 32), _conv(32, 64)
        self.up2, self.up1 = nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)
        self.down2, self.down1, self.out = _conv(64, 32), _conv(32, 16), nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first(x)
        second = self.second(functional.max_pool2d(first, 2))
        deepest = self.third(functional.max_pool2d(second, 2))
        merged = self.down2(torch.cat([self.up2(deepest), second], dim=1))
        return self.out(self.down1(torch.cat([self.up1(merged), first], dim=1)))


class C2f(nn.Module):
    """A split whose second half goes on through bottlenecks, all of it joined at the end (YOLOv8).

    It is split with `chunk`, or, as for some exports, with `split` and stated sizes.
    """

    def __init__(self, inputs: int, outputs: int, count: int, *, states_sizes: bool = False) -> None:
        super().__init__()
        half = outputs // 2
        self.states_sizes = states_sizes
        self.before, self.after = _conv(inputs, outputs, 1), _conv((2 + count) * half, outputs, 1)
        self.blocks = nn.ModuleList(nn.Sequential(_conv(half, half), _conv(half, half)) for _ in range(count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        together = self.before(x)
        half = together.shape[1] // 2
        parts = list(together.split((half, half), dim=1) if self.states_sizes else together.chunk(2, dim=1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.after(torch.cat(parts, dim=1))


class Pooled(nn.Module):
    """Spatial pyramid pooling, the fast way (SPPF)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = _conv(width, width // 2, 1), _conv(2 * width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.before(x)]
        for _ in range(3):
            parts.append(functional.max_pool2d(parts[-1], 5, 1, 2))
        return self.after(torch.cat(parts, dim=1))


class Yolo(nn.Module):
    """A backbone of C2f and SPPF, and a head whose boxes are distributions over distances (DFL)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(3, 16, stride=2), C2f(16, 32, 1), _conv(32, 32, stride=2), C2f(32, 32, 2, states_sizes=True)
        )
        self.pooled = Pooled(32)
        self.boxes = nn.Sequential(_conv(32, 32), nn.Conv2d(32, 4 * _BINS, 1))
        self.scores = nn.Sequential(_conv(32, 32), nn.Conv2d(32, 3, 1))
        self.distances = nn.Conv2d(_BINS, 1, 1, bias=False).requires_grad_(requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.pooled(self.body(x))
        boxes, scores = self.boxes(features).flatten(2), self.scores(features).flatten(2)
        bins = boxes.view(len(boxes), 4, _BINS, -1).transpose(1, 2).softmax(dim=1)
        return torch.cat([self.distances(bins).view(len(boxes), 4, -1), scores.sigmoid()], dim=1)


class TemporalBlock(nn.Module):
    """Two dilated convolutions with weight norm (Bai et al., 2018)."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.pad = (2 * dilation, 0)
        self.first, self.second = (
            parametrizations.weight_norm(nn.Conv1d(width, outputs, 3, dilation=dilation)) for width in (inputs, outputs)
        )
        self.shortcut = nn.Conv1d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(functional.pad(x, self.pad)))
        return torch.relu(self.second(functional.pad(hidden, self.pad)) + self.shortcut(x))


def tcn() -> nn.Module:
    return nn.Sequential(TemporalBlock(2, 16, 1), TemporalBlock(16, 24, 2), nn.Conv1d(24, 4, 1))


class Siamese(nn.Module):
    """One network for both halves of its input, and how alike the answers are."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(_conv(3, 16, stride=2), _conv(16, 32, stride=2), nn.AdaptiveAvgPool2d(1))
        self.embed = nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = (self.embed(self.tower(half).flatten(1)) for half in x.chunk(2, dim=3))
        return functional.cosine_similarity(first, second, dim=1).unsqueeze(1)


def super_resolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 24, 5, 1, 2), nn.PReLU(24), nn.Conv2d(24, 64, 3, 1, 1), nn.PixelShuffle(2), nn.ReLU(),
        nn.Conv2d(16, 12, 3, 1, 1), nn.PixelShuffle(2),
    )  # fmt: skip


SPLIT_ARCHITECTURES = {
    "mobilenetv3": Architecture(lambda: _gated(nn.Hardswish, nn.Hardsigmoid), IMAGE_SHAPE),
    "efficientnet": Architecture(lambda: _gated(nn.SiLU, nn.Sigmoid), IMAGE_SHAPE),
    "convnext": Architecture(convnext, IMAGE_SHAPE),
    "shufflenet": Architecture(shufflenet, IMAGE_SHAPE),
    "unet": Architecture(UNet, IMAGE_SHAPE),
    "yolov8": Architecture(Yolo, IMAGE_SHAPE),
    "tcn": Architecture(tcn, SIGNAL_SHAPE),
    "siamese": Architecture(Siamese, IMAGE_SHAPE),
    "super-resolution": Architecture(super_resolution, IMAGE_SHAPE),
}
