"""From batches to reconstructions: what has influence on them, with and without neighbours."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.autoencoders.base import Autoencoder
from stgraph.models.autoencoders.reconstructor import SeriesReconstructor

STEPS = 12
ARGUMENTS: dict[str, dict[str, Any]] = {
    "mlp": {"encoder_hidden_dims": [9], "latent_dim": 4},
    "unet": {"encoder_dims": [4, 6]},
    "transformer": {"encoder_dims": [4, 6], "nhead": 2, "num_transformer_blocks": 1},
    "mingru": {"encoder_dims": [4, 6]},
}
NAMES = ["mlp", "unet", "transformer"]


def make(name: str, channels: int = 2, **options: Any) -> SeriesReconstructor:
    torch.manual_seed(0)
    model = SeriesReconstructor(name, channels, STEPS, ARGUMENTS[name], **options)
    if model.context_skip is not None:  # zero at the start, so that nothing could be seen
        nn.init.normal_(model.context_skip.weight)
    return model.double().eval()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(channels: int = 2, *, edges: bool = True, seed: int = 0) -> Data:
    """Three samples, of which the last ends early, and three rows of neighbours."""
    shape = (6, STEPS, channels)
    padding = torch.zeros(6, STEPS, dtype=torch.bool)
    padding[2, 9:] = True
    mask = (random(*shape, seed=seed + 1) > -1) & ~padding[..., None]
    index = torch.tensor([[3, 4, 5], [0, 0, 2]]) if edges else torch.zeros(2, 0, dtype=torch.int64)
    return Data(
        x=random(*shape, seed=seed),
        mask=mask,
        hidden=mask & (random(*shape, seed=seed + 2) > 0.3),
        padding=padding,
        time=torch.arange(STEPS, dtype=torch.float64).expand(6, -1) * 0.02,
        edge_index=index,
        edge_attr=random(index.shape[1], 2, seed=seed + 3),
        batch_size=3,
    )


def samples(data: Data) -> Data:
    """The batch as a loader without neighbours gives it."""
    names = ("x", "mask", "hidden", "padding", "time")
    return Data(**{name: data[name][:3] for name in names}, batch_size=3)


def copy_shared(source: nn.Module, target: nn.Module) -> int:
    """Copy the weights of a network to one with further input channels; return the number of layers that differ."""
    given, state, wider = source.state_dict(), target.state_dict(), 0
    for name, value in given.items():
        if state[name].shape == value.shape:
            state[name] = value
        else:
            wider += 1
            assert state[name].shape[2:] == value.shape[2:]
            state[name][:, : value.shape[1]] = value  # the other columns stay arbitrary
    target.load_state_dict(state)
    return wider


@pytest.mark.parametrize("uncertainty", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_without_edges_it_is_the_network_without_neighbours(name, channels, uncertainty):
    alone = make(name, channels, uncertainty=uncertainty)
    model = make(name, channels, uncertainty=uncertainty, neighbors=3, edge_channels=2)
    assert copy_shared(alone.autoencoder, model.autoencoder) == 1
    data = batch(channels, edges=False)
    for key in ("x", "mask", "hidden", "time"):
        data[key] = data[key][:3]
    expected, found = alone(samples(data)), model(data)
    assert set(found) == set(expected)
    for key in ("mean", "encoded", *(["log_variance"] if uncertainty else [])):
        torch.testing.assert_close(found[key], expected[key], rtol=1e-12, atol=1e-13)


def test_the_documented_transformer_with_neighbours_has_hardly_more_parameters():
    with torch.device("meta"):
        alone, model = (SeriesReconstructor("transformer", 1, 512, neighbors=n, edge_channels=3) for n in (0, 4))
    before, after = (sum(p.numel() for p in m.parameters()) for m in (alone, model))
    assert before == 26_812_289
    assert before < after <= 1.05 * before


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e6])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_hidden_and_unobserved_values_have_no_influence(name, wrong):
    data, model = batch(), make(name, neighbors=2, edge_channels=2)
    expected = model(data)
    unseen = data.hidden | ~data.mask
    assert unseen[:3].any()
    assert unseen[3:].any()
    data.x = data.x.masked_fill(unseen, wrong)
    found = model(data)
    assert torch.equal(found["mean"], expected["mean"])
    assert torch.equal(found["encoded"], expected["encoded"])


@pytest.mark.parametrize("name", ARGUMENTS)
def test_visible_values_of_samples_and_neighbours_have_influence(name):
    data, model = batch(), make(name, neighbors=2, edge_channels=2)
    data.x.requires_grad_()
    mean = model(data)["mean"]
    for sample, rows in enumerate(([0, 3, 4], [1], [2, 5])):
        (gradient,) = torch.autograd.grad(mean[sample, :9].sum(), data.x, retain_graph=True)
        influential = gradient.flatten(1).any(dim=1).nonzero().flatten().tolist()
        assert influential == rows
        assert not gradient[data.hidden | ~data.mask].any()


@pytest.mark.parametrize("name", ["unet", "transformer"])
def test_padding_does_not_matter(name):
    data, model = batch(edges=False), make(name)
    whole = model(samples(data))["mean"]
    short = samples(data)
    for key in ("x", "mask", "hidden", "padding", "time"):
        short[key] = short[key][2:, :9]
    short.batch_size = 1
    torch.testing.assert_close(model(short)["mean"], whole[2:, :9])


def test_uncertainty():
    data, model = batch(), make("transformer", uncertainty=True, neighbors=1, edge_channels=2)
    output = model(data)
    assert output["mean"].shape == output["log_variance"].shape == (3, STEPS, 2)
    # Neighbours are added to the mean alone, after the network.
    network = output["reconstructed"]
    assert torch.equal(output["log_variance"], network[..., 2:])
    assert not torch.equal(output["mean"], network[..., :2])


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_channels(name, channels):
    output = make(name, channels)(samples(batch(channels)))
    assert output["mean"].shape == (3, STEPS, channels)
    assert "log_variance" not in output
    assert len(output["encoded"]) == 3


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_share_without_samples_has_gradients(name):
    """One of several processes may get no sample of the last batch."""
    model = make(name, neighbors=2, edge_channels=2)
    data = batch(edges=False)
    none = Data(**{key: data[key][:0] for key in ("x", "mask", "hidden", "padding", "time")}, batch_size=0)
    none.edge_index, none.edge_attr = data.edge_index, data.edge_attr
    output = model(none)
    assert output["mean"].shape == (0, STEPS, 2)
    output["mean"].sum().backward()
    full = make(name, neighbors=2, edge_channels=2)
    full(batch())["mean"].sum().backward()
    for (key, parameter), other in zip(model.named_parameters(), full.parameters(), strict=True):
        assert (parameter.grad is None) == (other.grad is None), key
        assert parameter.grad is None or not parameter.grad.any()


def test_a_batch_may_lack_what_is_optional():
    data = batch(edges=False)
    bare = Data(x=data.x, mask=data.mask, hidden=data.hidden)
    assert make("unet")(bare)["mean"].shape == (6, STEPS, 2)


def test_state_goes_round():
    first = make("transformer", neighbors=2, edge_channels=2)
    assert first.context is not None
    first.context.fit(5 + 3 * random(9, 2))
    second = SeriesReconstructor("transformer", 2, STEPS, ARGUMENTS["transformer"], neighbors=2, edge_channels=2)
    second.double().eval().load_state_dict(first.state_dict())
    assert torch.equal(first(batch())["mean"], second(batch())["mean"])


class _Doubled(nn.Module):
    """A parent that sets the parameters of its child otherwise."""

    def __init__(self, child: nn.Linear) -> None:
        super().__init__()
        self.child = child

    def reset_parameters(self) -> None:
        nn.init.constant_(self.child.weight, 2)


class _Nested(Autoencoder):
    def __init__(self) -> None:
        super().__init__(1, 1, 1)
        self.parent = _Doubled(nn.Linear(1, 1))
        self.again = self.parent.child  # a module may be the child of two
        self.free = nn.Linear(1, 1)


def test_new_parameters_of_children_come_before_those_of_their_parents():
    model = _Nested()
    before = model.free.weight.item()
    nn.init.constant_(model.parent.child.weight, 5)
    model.reset_parameters()
    assert model.parent.child.weight.item() == 2
    assert model.free.weight.item() != before


def test_errors():
    with pytest.raises(InputError, match=r"unknown autoencoder 'transfomer'.*transformer"):
        SeriesReconstructor("transfomer", 1)
    with pytest.raises(InputError, match="mlp has no hyper-parameter 'depth'; it has encoder_hidden_dims, latent_dim"):
        SeriesReconstructor("mlp", 1, arguments={"depth": 3})
    for name in ("in_channels", "out_channels", "input_length"):
        with pytest.raises(InputError, match=f"unet has no hyper-parameter '{name}'"):
            SeriesReconstructor("unet", 1, arguments={name: 3})
    with pytest.raises(InputError, match="channels is 0"):
        SeriesReconstructor("mlp", 0)
    with pytest.raises(InputError, match="neighbors is -1"):
        SeriesReconstructor("mlp", 1, neighbors=-1)
    model = make("unet", neighbors=1, edge_channels=2)
    with pytest.raises(InputError, match="expected a batch with edge_index"):
        model(samples(batch()))
    data = batch()
    del data.edge_attr
    with pytest.raises(InputError, match="edge_attr has shape None"):
        model(data)
