"""The network that reads the neighbours and the coarse spectra, its training at the low scale and its use in tiles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from stgraph.errors import InputError, InputTypeError
from stgraph.models.fusion import (
    LatentEstimationNetwork,
    SpatialEstimationNetwork,
    coarse_prior,
    enlarge,
    fit_network,
    fit_spatial,
    flat_schedule,
    predict_spatial,
)
from stgraph.ops.stencil import grid_stencil

ENDMEMBERS = torch.tensor([[0.1, 0.4, 0.9, 0.3], [0.8, 0.2, 0.1, 0.5]])


def new_network(
    seed: int = 0, layers: int = 1, hidden: int = 16, dtype: torch.dtype = torch.float32
) -> SpatialEstimationNetwork:
    network = SpatialEstimationNetwork(1, ENDMEMBERS.to(dtype), components=2, channels=8, hidden=hidden, layers=layers)
    network.reset_parameters(torch.Generator().manual_seed(seed))
    return network


def scene(height: int = 8, width: int = 6, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    weights = torch.rand(height * width, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    image: Tensor = (weights / 2 @ ENDMEMBERS.double()).T.unflatten(1, (height, width))
    return image.to(dtype)


def inputs(network: SpatialEstimationNetwork, hsi: Tensor) -> Tensor:
    return torch.cat([hsi[:1], network.project(coarse_prior(hsi, 2, "bilinear"))]).flatten(1).T


def fit(network: SpatialEstimationNetwork, hsi: Tensor, **options: object) -> list[float]:
    options = {"epochs": 4} | options
    record = fit_spatial(network, hsi[:1], hsi, coarse_prior(hsi, 2, "bilinear"), **options)  # type: ignore[arg-type]
    return record.losses


def test_the_parts_are_put_together_as_the_formula_says() -> None:
    network = new_network(layers=2, dtype=torch.float64)
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    graph = network.pixel_graph(3, 4)
    features = x @ network.lin_in.weight.T + network.lin_in.bias
    for layer in network.layers:
        features = layer(features, graph)
    both = torch.cat([x, features], dim=1)
    hidden = (both @ network.head.lin_hidden.weight.T + network.head.lin_hidden.bias).clamp(min=0)
    latent = hidden @ network.head.lin_latent.weight.T + network.head.lin_latent.bias
    spectra, found = network(x, graph)
    assert torch.allclose(found, latent)
    assert torch.allclose(spectra, latent @ ENDMEMBERS.double())


@pytest.mark.parametrize("layers", [1, 2])
def test_a_pixel_reads_its_neighbours_so_far_as_there_are_layers(layers: int) -> None:
    network = new_network(layers=layers, hidden=64, dtype=torch.float64)
    x = torch.randn(49, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    changed = x.clone()
    changed[3 * 7 + 3] += 1
    graph = network.pixel_graph(7, 7)
    moved = ((network(changed, graph)[1] - network(x, graph)[1]).abs().amax(dim=1) > 1e-12).view(7, 7)
    rows, columns = torch.meshgrid(torch.arange(7), torch.arange(7), indexing="ij")
    assert torch.equal(moved, torch.maximum((rows - 3).abs(), (columns - 3).abs()) <= layers)


def test_pixels_in_another_order_give_the_same() -> None:
    network = new_network(layers=2, dtype=torch.float64)
    edge_index = grid_stencil(4, 5, 8)
    pos = torch.cartesian_prod(torch.arange(4.0), torch.arange(5.0)).double()
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = network(x, network.pixel_graph(4, 5))[0]
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    place = order.argsort()[edge_index]
    relative = pos[order][place[1]] - pos[order][place[0]]
    layer = network.layers[0]
    assert isinstance(layer, MessagePassing)
    graph = layer.prepare(place, torch.cat([relative, relative.norm(dim=1, keepdim=True)], dim=1), 20)
    assert torch.allclose(network(x[order], graph)[0], expected[order], atol=1e-12)


def test_components_are_principal() -> None:
    network, hsi = new_network(dtype=torch.float64), scene(dtype=torch.float64)
    network.set_components(hsi)
    components = network.project(hsi).flatten(1)
    covariance = components.cov(correction=0)
    assert torch.allclose(components.mean(dim=1), torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert float(covariance[0, 0]) == pytest.approx(1)
    assert abs(float(covariance[0, 1])) < 1e-12 < float(covariance[1, 1]) < 1
    # Mixtures of two spectra differ in two directions, so nothing is lost, but for the common scale.
    scale = network.axes[0].norm()
    assert torch.allclose(network.axes @ network.axes.T, scale**2 * torch.eye(2, dtype=torch.float64))
    back = network.mean[:, None] + network.axes.T @ components / scale**2
    assert torch.allclose(back, hsi.flatten(1))


def test_equal_spectra_have_no_components() -> None:
    network = new_network()
    network.set_components(torch.ones(4, 3, 3))
    assert not network.project(torch.ones(4, 3, 3)).any()
    assert network.axes.isfinite().all()


def test_components_are_saved_and_not_trained() -> None:
    network, other = new_network(), new_network(seed=1)
    fit(network, scene())
    axes = network.axes.clone()
    fit(network, scene())
    assert torch.equal(network.axes, axes)
    other.load_state_dict(network.state_dict())
    bands = torch.rand(1, 8, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(predict_spatial(other, bands, scene(4, 3)), predict_spatial(network, bands, scene(4, 3)))


def test_gradients_reach_all_parameters() -> None:
    network, hsi = new_network(layers=2), scene()
    # Where biases are zero, as at first, the summary of the plan has none.
    fit(network, hsi, epochs=1)
    network.zero_grad()
    network(inputs(network, hsi), network.pixel_graph(8, 6))[0].square().sum().backward()
    # Without a plan its summary is of zeros, and a bias common to all keys is lost in the softmax.
    unused = {f"layers.{layer}.{name}" for layer in (0, 1) for name in ("plan_summary.0.weight", "lin_key.bias")}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert name in unused or bool((parameter.grad != 0).any()), name


def test_gradients_are_those_of_the_values() -> None:
    network = new_network(hidden=8, dtype=torch.float64)
    graph = network.pixel_graph(2, 2)
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: network(values, graph)[0], (x,))


def test_the_step_is_that_of_adam_on_the_mean_absolute_error() -> None:
    hsi, network, expected = scene(), new_network(), new_network()
    losses = fit(network, hsi, epochs=3, schedule=flat_schedule(1e-3), component_noise=0.0)
    expected.set_components(hsi)
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-3, eps=1e-7)
    graph = expected.pixel_graph(8, 6)
    wanted = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = (expected(inputs(expected, hsi), graph)[0] - hsi.flatten(1).T).abs().mean()
        loss.backward()
        optimizer.step()
        wanted.append(float(loss.detach()))
    assert losses == pytest.approx(wanted, rel=1e-5)


def test_noise_is_on_the_components_alone() -> None:
    hsi = scene()
    frozen = flat_schedule(0.0)
    exact = fit(new_network(), hsi, schedule=frozen, component_noise=0.0)
    assert exact == [exact[0]] * 4
    noisy = fit(new_network(), hsi, schedule=frozen)
    assert len(set(noisy)) == 4
    assert noisy == fit(new_network(), hsi, schedule=frozen)
    assert noisy != fit(new_network(), hsi, schedule=frozen, seed=1)
    # A prior without differences gets none.
    flat = fit_spatial(new_network(), hsi[:1], hsi, torch.zeros_like(hsi), epochs=4, schedule=frozen).losses
    assert flat == [flat[0]] * 4


def test_neighbours_tell_what_the_band_does_not() -> None:
    # The amount of the second endmember is the mean of the first's to the left and right: the own band is silent on it.
    first = torch.rand(10, 14, generator=torch.Generator().manual_seed(3))
    second = (first.roll(1, 1) + first.roll(-1, 1)) / 2
    endmembers = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]])
    hsi = torch.einsum("khw,kc->chw", torch.stack([first, second]) / 2, endmembers)
    network = SpatialEstimationNetwork(1, endmembers, components=1, channels=16, hidden=64)
    alone = LatentEstimationNetwork(1, endmembers, hidden=64)
    for each in (network, alone):
        each.reset_parameters(torch.Generator().manual_seed(0))
    # A prior of zeros has nothing to say.
    record = fit_spatial(network, hsi[:1], hsi, torch.zeros_like(hsi), epochs=80)
    own = fit_network(alone, hsi[:1].flatten(1).T, hsi.flatten(1).T, epochs=80)
    assert record.losses[-1] < 0.8 * own.losses[-1]


def test_a_repeat_gives_equal_bits() -> None:
    networks = new_network(), new_network()
    assert fit(networks[0], scene()) == fit(networks[1], scene())
    bands = torch.rand(1, 16, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(*(predict_spatial(network, bands, scene()) for network in networks))


def test_held_out_spectra_are_not_trained_on() -> None:
    hsi, held_out = scene(), torch.arange(48) < 12
    networks = new_network(), new_network()
    prior = coarse_prior(hsi, 2, "bilinear")
    spoilt = hsi.clone()
    spoilt[:, :2] = hsi[:, :2].flip(2)  # the same spectra elsewhere, so that the components stay the same
    records = [
        fit_spatial(network, hsi[:1], values, prior, epochs=4, held_out=held_out)
        for network, values in zip(networks, (hsi, spoilt), strict=True)
    ]
    assert records[0].losses == pytest.approx(records[1].losses, rel=1e-4)
    assert records[0].held_out_losses != pytest.approx(records[1].held_out_losses, rel=1e-2)
    estimate = networks[0](inputs(networks[0], hsi), networks[0].pixel_graph(8, 6))[0]
    after = (estimate - hsi.flatten(1).T)[held_out].abs().mean()
    assert records[0].held_out_losses[-1] == pytest.approx(float(after.detach()), rel=1e-5)


def test_patience_stops_and_goes_back() -> None:
    hsi, held_out = scene(), torch.arange(48) < 12
    targets = torch.where(held_out.view(8, 6), 0.5 - hsi, hsi)
    record = fit_spatial(new_network(), hsi[:1], targets, hsi, epochs=60, held_out=held_out, patience=5)
    assert record.best_epoch == record.held_out_losses.index(min(record.held_out_losses)) + 1
    assert len(record.losses) == record.best_epoch + 5 < 60


def test_progress_is_told() -> None:
    told: list[tuple[int, float]] = []
    losses = fit(new_network(), scene(), on_epoch=lambda *args: told.append(args))
    assert told == list(enumerate(losses))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("tile", [1, 4, 100])
def test_tiles_of_any_size_predict_the_same(tile: int, layers: int) -> None:
    network = new_network(layers=layers)
    fit(network, scene(), epochs=2)
    bands = torch.rand(1, 11, 9, generator=torch.Generator().manual_seed(0))
    whole = predict_spatial(network, bands, scene(4, 3), tile=None)
    assert whole.shape == (2, 11, 9)
    assert torch.allclose(predict_spatial(network, bands, scene(4, 3), tile=tile), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("upsample", ["nearest", "bilinear", "bicubic"])
def test_projecting_first_gives_the_same(upsample: str) -> None:
    network, hsi = new_network(dtype=torch.float64), scene(dtype=torch.float64)
    fit(network, hsi)
    bands = torch.rand(1, 24, 18, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features = torch.cat([bands, network.project(enlarge(hsi, (24, 18), upsample))]).flatten(1).T
    expected = network(features, network.pixel_graph(24, 18))[1].T.unflatten(1, (24, 18))
    found = predict_spatial(network, bands, hsi, upsample=upsample)
    assert torch.allclose(found, expected, atol=1e-10)
    assert not found.requires_grad


def test_one_pixel_has_no_neighbours() -> None:
    network = new_network()
    assert predict_spatial(network, torch.ones(1, 1, 1), torch.ones(4, 1, 1)).isfinite().all()


def test_bad_input() -> None:
    network, hsi = new_network(), scene()
    held_out = torch.zeros(48, dtype=torch.bool)
    for name in ("in_channels", "components", "channels", "hidden", "layers"):
        with pytest.raises(InputError, match=f"{name} is 0; expected at least 1"):
            SpatialEstimationNetwork(**{"in_channels": 2, "endmembers": ENDMEMBERS} | {name: 0})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="components is 5; expected at most the 4 bands"):
        SpatialEstimationNetwork(1, ENDMEMBERS, components=5)
    with pytest.raises(InputError, match="constraint is 'positive'"):
        SpatialEstimationNetwork(1, ENDMEMBERS, components=2, constraint="positive")
    with pytest.raises(InputTypeError, match=r"torch\.int64"):
        SpatialEstimationNetwork(1, ENDMEMBERS.long(), components=2)
    with pytest.raises(InputError, match=r"expected \(\.\.\., nodes, 3\)"):
        network(torch.zeros(6, 4), network.pixel_graph(2, 3))
    with pytest.raises(InputError, match=r"the graph has 6 nodes, but x has 8"):
        network(torch.zeros(8, 3), network.pixel_graph(2, 3))
    with pytest.raises(InputError, match=r"lr_bands has shape \(2, 8, 6\); expected \(1, rows, columns\)"):
        fit_spatial(network, hsi[:2], hsi, hsi)
    with pytest.raises(InputError, match=r"lr_hsi has shape \(4, 7, 6\); expected \(4, 8, 6\)"):
        fit_spatial(network, hsi[:1], hsi[:, 1:], hsi)
    with pytest.raises(InputError, match=r"prior has shape \(3, 8, 6\); expected \(4, 8, 6\)"):
        fit_spatial(network, hsi[:1], hsi, hsi[:3])
    with pytest.raises(InputError, match="epochs is 0"):
        fit(network, hsi, epochs=0)
    with pytest.raises(InputError, match=r"held_out has dtype torch\.int64"):
        fit(network, hsi, held_out=held_out.long())
    with pytest.raises(InputError, match="patience is 3, but no pixel is held out"):
        fit(network, hsi, held_out=held_out, patience=3)
    with pytest.raises(InputError, match="component_noise is -1"):
        fit(network, hsi, component_noise=-1.0)
    with pytest.raises(InputError, match="no pixel is left"):
        fit(network, hsi, held_out=~held_out)
    with pytest.raises(InputError, match=r"bands has shape \(4, 8, 6\); expected \(1, rows, columns\)"):
        predict_spatial(network, hsi, hsi)
    with pytest.raises(InputError, match=r"image has shape \(3, 8, 6\); expected \(4, rows, columns\)"):
        predict_spatial(network, hsi[:1], hsi[:3])
    with pytest.raises(InputError, match=r"size is \(4, 6\); expected at least"):
        predict_spatial(network, hsi[:1, :4], hsi)
    with pytest.raises(InputError, match=r"tile is 0; expected at least 1"):
        predict_spatial(network, hsi[:1], hsi, tile=0)
