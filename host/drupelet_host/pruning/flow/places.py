"""The places where channels are stored: the sides of layers, and the axes of parameters outside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from drupelet_host.pruning.flow.cutting import LAYERS_WITH_CHANNELS
from drupelet_host.pruning.flow.labels import ChannelLabels


@dataclass(frozen=True, slots=True)
class Place:
    """One side of a layer, or one axis of a parameter.

    Attributes:
        layer: The name of the layer or the parameter.
        side: Whether the channels are made there or taken.
        axis: The axis of the weight.
    """

    layer: str
    side: Literal["out", "in"]
    axis: int


class Places:
    """The labels of every place that was used, and which places make channels."""

    def __init__(self, model: nn.Module, labels: ChannelLabels) -> None:
        """List the parameters of a model.

        Args:
            model: The model.
            labels: Where new labels come from.
        """
        self._labels = labels
        self.labels: dict[Place, torch.Tensor] = {}
        self.producers: list[Place] = []
        self._owners: dict[int, tuple[str, str]] = {}
        self._shared: set[int] = set()
        for name, module in model.named_modules():
            for child, parameter in [*module._parameters.items(), *module._buffers.items()]:  # noqa: SLF001 - shared ones too
                if parameter is not None:
                    own = name if isinstance(module, LAYERS_WITH_CHANNELS) else ""
                    full = f"{name}.{child}" if name else child
                    if id(parameter) in self._owners:
                        self._shared.add(id(parameter))
                    self._owners[id(parameter)] = (own, full)

    def knows(self, tensor: torch.Tensor) -> bool:
        """Return whether this is a parameter or a buffer."""
        return id(tensor) in self._owners

    def owner(self, parameter: torch.Tensor) -> str:
        """Return the layer of a known type that has this parameter, or ""."""
        return self._owners[id(parameter)][0]

    def use(
        self, parameter: torch.Tensor, axis: int, side: Literal["out", "in"], *, size: int | None = None
    ) -> torch.Tensor:
        """Return the labels along an axis of a parameter.

        Args:
            parameter: The parameter.
            axis: The axis.
            side: Whether its channels are made there or taken.
            size: The number of channels, where it is not the parameter's.
        """
        own, full = self._owners[id(parameter)]
        place = Place(own or full, side, axis)
        if place not in self.labels:
            self.labels[place] = self._labels.make(size or parameter.shape[axis])
        labels = self.labels[place]
        if id(parameter) in self._shared:
            self._labels.pin(labels, f"several layers share {full}")
        if not own:
            # Torch-Pruning does not follow parameters that belong to no layer.
            self._labels.mark_split(labels)
        return labels

    def produce(self, parameter: torch.Tensor, axis: int, *, size: int | None = None) -> torch.Tensor:
        """Return the labels of the channels that a weight makes.

        Args:
            parameter: The weight.
            axis: The axis of its outputs.
            size: The number of channels, where it is not the parameter's.
        """
        labels = self.use(parameter, axis, "out", size=size)
        own, full = self._owners[id(parameter)]
        place = Place(own or full, "out", axis)
        if place not in self.producers:
            self.producers.append(place)
        return labels
