"""New parameters and an empty optimizer, as after construction."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.models.autoencoders import SpectralCNNAutoencoder, reset_training_state


def built(seed: int) -> SpectralCNNAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpectralCNNAutoencoder(widths=(5, 4), latent_dim=3, input_length=9)


def trained(model: nn.Module, x: Tensor, steps: int = 3) -> torch.optim.Adam:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    train(model, optimizer, x, steps)
    return optimizer


def train(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x)["reconstructed"] - x).square().mean().backward()
        optimizer.step()


def same(model: nn.Module, other: nn.Module) -> bool:
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(own, expected) for own, expected in pairs)


X = torch.rand(4, 9, 1, generator=torch.Generator().manual_seed(0))


def test_with_a_seed_training_starts_again_as_if_built_with_it(caplog):
    model = built(0)
    parameters = list(model.parameters())
    optimizer = trained(model, X)
    state = torch.get_rng_state()
    with caplog.at_level(logging.INFO, logger="stgraph"):
        reset_training_state(model, optimizer, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    assert [record.getMessage() for record in caplog.records] == [
        "6 layers have new parameters, and the state of the optimizer is empty"
    ]
    other = built(7)
    assert same(model, other)
    assert all(own is parameter for own, parameter in zip(model.parameters(), parameters, strict=True))
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert all(parameter.grad is None for parameter in parameters)
    train(model, optimizer, X, 3)
    trained(other, X)
    assert same(model, other)


def test_without_a_seed_the_generator_of_torch_draws():
    model = built(0)
    optimizer = trained(model, X)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        reset_training_state(model, optimizer)
        assert same(model, built(7))
        reset_training_state(model, optimizer)
    assert not same(model, built(7))


def test_other_dtypes_get_the_same_weights():
    model = built(0).double()
    reset_training_state(model, torch.optim.SGD(model.parameters()), seed=7)
    assert next(model.parameters()).dtype == torch.float64
    assert same(model, built(7).double())


def test_a_compiled_network_gets_the_same_weights():
    model = built(0)
    reset_training_state(torch.compile(model), torch.optim.SGD(model.parameters()), seed=7)
    assert same(model, built(7))


def test_shared_layers_draw_once_and_running_statistics_are_forgotten():
    def network() -> nn.Module:
        layer = nn.Linear(3, 3)
        return nn.Sequential(layer, nn.BatchNorm1d(3), layer, nn.Linear(3, 1))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = network()
    model = network()
    model(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    assert model[1].running_mean.any()
    reset_training_state(model, torch.optim.SGD(model.parameters()), seed=7)
    assert same(model, expected)
    assert model[0] is model[2]


def test_the_optimizer_of_another_network_is_refused():
    model = built(0)
    with pytest.raises(InputError, match="optimizer holds none of the parameters of model"):
        reset_training_state(model, torch.optim.SGD(built(0).parameters()), seed=7)
    assert same(model, built(0))
