"""Small networks, one for each common structure, with the shape of the input that each takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

CLASSES = 5
IMAGE_SHAPE = (1, 3, 16, 16)
SIGNAL_SHAPE = (1, 2, 32)


def _conv(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


def _classify(width: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut, which is a convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.downsample = nn.Identity() if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(hidden)) + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 16)
        self.layer1 = ResidualBlock(16, 16, stride=1)
        self.layer2 = ResidualBlock(16, 32, stride=2)
        self.layer3 = ResidualBlock(32, 32, stride=1)
        self.head = _classify(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer3(self.layer2(self.layer1(self.stem(x)))))


class InvertedResidual(nn.Module):
    """Expand, filter depthwise, project; a shortcut where the shape stays (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.shortcut = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            _conv(inputs, hidden, 1),
            _conv(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.shortcut else self.body(x)


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv(3, 16, stride=2),
            InvertedResidual(16, 16, stride=1, expand=2),
            InvertedResidual(16, 24, stride=2, expand=2),
            InvertedResidual(24, 24, stride=1, expand=2),
            _conv(24, 48, 1),
        )
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(48, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(self.features(x).mean(dim=(2, 3))))


class DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 2 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(2 * growth), nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(hidden)))], dim=1)


class DenseNet(nn.Module):
    """Every layer sees what all layers before it made."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 16)
        self.dense = nn.Sequential(DenseLayer(16, 16), DenseLayer(32, 16), DenseLayer(48, 16))
        self.transition = nn.Sequential(_conv(64, 32, 1), nn.AvgPool2d(2))
        self.head = _classify(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.transition(self.dense(self.stem(x))))


class InceptionBlock(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.narrow = _conv(inputs, 16, 1)
        self.wide = nn.Sequential(_conv(inputs, 16, 1), _conv(16, 24, 3))
        self.wider = nn.Sequential(_conv(inputs, 8, 1), _conv(8, 16, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), _conv(inputs, 8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.narrow(x), self.wide(x), self.wider(x), self.pooled(x)], dim=1)


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 16, stride=2)
        self.block1, self.block2 = InceptionBlock(16), InceptionBlock(64)
        self.head = _classify(64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block2(self.block1(self.stem(x))))


class ResNeXtBlock(nn.Module):
    """A bottleneck whose middle convolution has several groups."""

    def __init__(self, width: int, inner: int, *, groups: int) -> None:
        super().__init__()
        self.reduce, self.grouped = _conv(width, inner, 1), _conv(inner, inner, 3, groups=groups)
        self.expand = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.expand(self.grouped(self.reduce(x))))


class ResNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 32, stride=2)
        self.blocks = nn.Sequential(ResNeXtBlock(32, 32, groups=4), ResNeXtBlock(32, 32, groups=4))
        self.head = _classify(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)))


class GroupNormNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16)
        self.conv1, self.norm1 = nn.Conv2d(16, 32, 3, 2, 1), nn.GroupNorm(8, 32)
        self.conv2, self.norm2 = nn.Conv2d(32, 32, 3, 1, 1), nn.GroupNorm(4, 32)
        self.head = _classify(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(self.norm1(self.conv1(x)))
        return self.head(torch.relu(x + self.norm2(self.conv2(x))))


class Attention(nn.Module):
    """One linear layer for queries, keys and values, written as timm writes it."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.attn_drop = nn.Dropout(0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        shape = (batch, tokens, 3, self.num_heads, width // self.num_heads)
        queries, keys, values = self.qkv(x).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
        weights = self.attn_drop((queries * self.scale @ keys.transpose(-2, -1)).softmax(dim=-1))
        return self.proj((weights @ values).transpose(1, 2).reshape(batch, tokens, width))


class SelfAttention(nn.Module):
    """Torch's own attention, asked about one tensor."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


class TransformerBlock(nn.Module):
    def __init__(self, width: int, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), attention, nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, attention: Callable[..., nn.Module], *, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.1 * torch.randn(1, 17, width))
        self.blocks = nn.Sequential(*[TransformerBlock(width, attention(width, heads=heads)) for _ in range(2)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class RecurrentClassifier(nn.Module):
    """Two convolutions over time, a recurrent layer, a classifier on its last state."""

    def __init__(self, recurrent: Callable[..., nn.Module], **settings: object) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv1d(2, 16, 3, padding=1), nn.BatchNorm1d(16)
        self.conv2 = nn.Conv1d(16, 24, 3, stride=2, padding=1)
        self.recurrent = recurrent(24, 32, batch_first=True, **settings)
        self.hidden = nn.Linear(64 if settings.get("bidirectional") else 32, 16)
        self.classifier = nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv2(torch.relu(self.norm(self.conv1(x)))))
        outputs, _ = self.recurrent(x.transpose(1, 2))
        return self.classifier(torch.relu(self.hidden(outputs[:, -1])))


class LastStateClassifier(nn.Module):
    """A classifier on the state that a recurrent layer ends with, not on its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(2, 16)
        self.recurrent = nn.LSTM(16, 32, batch_first=True)
        self.classifier = nn.Linear(32, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, (state, _) = self.recurrent(torch.relu(self.embed(x.transpose(1, 2))))
        return self.classifier(state[-1])


class SignalNet(nn.Module):
    """Convolutions over a signal, flattened into a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2, 16, 5, padding=2),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool1d(4),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 4, 32), nn.ReLU(), nn.Linear(32, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


class Detector(nn.Module):
    """A backbone with a feature pyramid; boxes and scores at two scales, and one score for the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fine, self.coarse = _conv(3, 16), _conv(16, 24, stride=2), _conv(24, 32, stride=2)
        self.lateral, self.merge = nn.Conv2d(32, 24, 1), _conv(24, 24)
        self.boxes, self.scores = nn.Conv2d(24, 4, 1), nn.Conv2d(32, CLASSES, 3, padding=1)
        self.image = nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        fine = self.fine(self.stem(x))
        coarse = self.coarse(fine)
        merged = self.merge(fine + functional.interpolate(self.lateral(coarse), scale_factor=2.0))
        return self.boxes(merged), self.scores(coarse).flatten(2), self.image(coarse.mean(dim=(2, 3)))


class NamedDetector(Detector):
    """The same answers in a dictionary."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        boxes, scores, image = super().forward(x)
        return {"boxes": boxes, "scores": scores, "image": image}


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.conv, self.reduce = _conv(width, width), nn.Conv2d(width, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.conv(x)
        weights = torch.sigmoid(self.expand(torch.relu(self.reduce(hidden.mean((2, 3), keepdim=True)))))
        return x + hidden * weights


class SqueezeExciteNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 24, stride=2)
        self.block = SqueezeExcite(24, 16)
        self.head = _classify(24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.stem(x)))


@dataclass(frozen=True, slots=True)
class Architecture:
    """How to build a network, and what it takes."""

    make: Callable[[], nn.Module]
    input_shape: tuple[int, ...]

    def build(self, seed: int = 0) -> nn.Module:
        """The network in evaluation mode; the same seed gives the same weights, none of them a neutral 0 or 1."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = self.make().eval()
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.running_mean.normal_(0, 0.2)
                    module.running_var.uniform_(0.5, 1.5)
                if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)):
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.normal_(module.bias, 0, 0.2)
        return model


ARCHITECTURES = {
    "resnet": Architecture(ResNet, IMAGE_SHAPE),
    "mobilenet": Architecture(MobileNet, IMAGE_SHAPE),
    "densenet": Architecture(DenseNet, IMAGE_SHAPE),
    "inception": Architecture(Inception, IMAGE_SHAPE),
    "resnext": Architecture(ResNeXt, IMAGE_SHAPE),
    "groupnorm": Architecture(GroupNormNet, IMAGE_SHAPE),
    "vit": Architecture(lambda: VisionTransformer(Attention), IMAGE_SHAPE),
    "vit-torch": Architecture(lambda: VisionTransformer(SelfAttention), IMAGE_SHAPE),
    "lstm": Architecture(lambda: RecurrentClassifier(nn.LSTM), SIGNAL_SHAPE),
    "lstm-state": Architecture(LastStateClassifier, SIGNAL_SHAPE),
    "lstm-deep": Architecture(lambda: RecurrentClassifier(nn.LSTM, num_layers=2, bidirectional=True), SIGNAL_SHAPE),
    "gru": Architecture(lambda: RecurrentClassifier(nn.GRU), SIGNAL_SHAPE),
    "signal": Architecture(SignalNet, SIGNAL_SHAPE),
    "detector": Architecture(Detector, IMAGE_SHAPE),
    "detector-named": Architecture(NamedDetector, IMAGE_SHAPE),
    "squeeze-excite": Architecture(SqueezeExciteNet, IMAGE_SHAPE),
}
