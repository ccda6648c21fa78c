"""Start the training of a network anew."""

from __future__ import annotations

import copy
import logging
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stgraph.errors import InputError
from stgraph.models.autoencoders.base import Autoencoder

__all__ = ["reset_training_state"]

_logger = logging.getLogger("stgraph")


@torch.no_grad()
def reset_training_state(model: nn.Module, optimizer: Optimizer, seed: int | None = None) -> None:
    """Give a network new parameters and its optimizer an empty state, so that training starts from scratch.

    Every layer that has ``reset_parameters`` draws its parameters again, the inner ones before those that contain
    them; parameters of other layers stay. The optimizer forgets its moments and steps and keeps its settings, the
    gradients are dropped, and the logger ``stgraph`` says so. Without this, a second run in a notebook would continue
    the first.

    The parameters are drawn on the CPU in the default dtype, so that with a seed they are those of a network that was
    built after ``torch.manual_seed(seed)``, wherever it is now.

    Args:
        model: The network.
        optimizer: The optimizer of its parameters.
        seed: Seed of the new parameters, which leaves the random generator of torch as it is; that generator draws
            them by default.

    Raises:
        InputError: If the optimizer is not one of the network's parameters.

    Examples:
        >>> from stgraph.models.autoencoders import SpectralCNNAutoencoder
        >>> model = SpectralCNNAutoencoder(widths=(4,))
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> model(torch.zeros(2, 9, 1))["reconstructed"].sum().backward()
        >>> optimizer.step()
        >>> reset_training_state(model, optimizer, seed=0)
        >>> len(optimizer.state)
        0
    """
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise InputError("optimizer holds none of the parameters of model; expected the optimizer that trains it")
    fresh = copy.deepcopy(model)._apply(_as_built)
    modules: list[nn.Module] = []
    fresh.apply(modules.append)
    layers = [layer for layer in dict.fromkeys(modules) if _knows_how(layer)]
    with nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        for layer in layers:
            layer.reset_parameters()  # type: ignore[operator]
    model.load_state_dict(fresh.state_dict())
    optimizer.state.clear()
    model.zero_grad(set_to_none=True)
    _logger.info("%d layers have new parameters, and the state of the optimizer is empty", len(layers))


def _knows_how(layer: nn.Module) -> bool:
    """Tell the layers that draw parameters; an autoencoder's own method only asks its layers, a second time here."""
    # Asked of the class: what torch.compile returns passes on the methods of the network that it holds.
    return hasattr(type(layer), "reset_parameters") and not isinstance(layer, Autoencoder)


def _as_built(tensor: Tensor) -> Tensor:
    return tensor.to("cpu", torch.get_default_dtype() if tensor.is_floating_point() else None)
