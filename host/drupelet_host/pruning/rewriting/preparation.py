"""What a model goes through before its channels are followed or removed."""

from __future__ import annotations

from torch import nn

from drupelet_host.pruning.rewriting.attention_rewriting import rewrite_attention
from drupelet_host.torch_models.inputs import ModuleInputs
from drupelet_host.torch_models.weight_norm import bake_weights


def prepare_for_pruning(model: nn.Module, example_input: ModuleInputs) -> None:
    """Rewrite, in place, the layers whose channels could not be removed otherwise; the model computes what it did.

    Args:
        model: The model; it is left in evaluation mode.
        example_input: An input it takes.
    """
    bake_weights(model.eval())
    rewrite_attention(model, example_input)
