"""Weights that are computed from others, as in weight norm, become plain weights: only those can lose channels."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm


def bake_weights(model: nn.Module) -> None:
    """Replace every parametrized weight by its present value, in place; the outputs stay the same.

    Covers `torch.nn.utils.parametrizations` (weight norm, spectral norm, orthogonal and a person's own) and the older
    hooks `torch.nn.utils.weight_norm` and `spectral_norm`.
    """
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            _give_own_class(module)
            for name in list(module.parametrizations.keys()):  # type: ignore[union-attr,operator]  # torch types it as a tensor
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        for hook in list(module._forward_pre_hooks.values()):  # noqa: SLF001 - torch lists hooks nowhere else
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
                _forget_loading(module)


def _forget_loading(module: nn.Module) -> None:
    """Remove the hook that expects the weights of spectral norm in a state_dict, which torch 2 itself leaves behind."""
    hooks = module._load_state_dict_pre_hooks  # noqa: SLF001 - torch lists hooks nowhere else
    for key, hook in list(hooks.items()):
        # Torch wraps the hooks that it registers.
        if isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook):
            del hooks[key]


def _give_own_class(module: nn.Module) -> None:
    """Part a module from the copies it was made from or into: removal changes the class, which copies share."""
    own = type(module)
    members = {name: value for name, value in vars(own).items() if name not in {"__dict__", "__weakref__"}}
    module.__class__ = type(own.__name__, own.__bases__, members)
