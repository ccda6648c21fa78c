"""Training on the pixels of one scene, and prediction in batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.models.fusion import (
    LatentEstimationNetwork,
    fit_network,
    flat_schedule,
    predict_batches,
    predict_pixels,
    tile_batches,
)

ENDMEMBERS = torch.tensor([[0.1, 0.4, 0.9, 0.3], [0.8, 0.2, 0.1, 0.5]])


def new_network(seed: int = 0, hidden: int = 32) -> LatentEstimationNetwork:
    network = LatentEstimationNetwork(2, ENDMEMBERS, hidden)
    network.reset_parameters(torch.Generator().manual_seed(seed))
    return network


def mixtures(pixels: int = 64, seed: int = 1) -> tuple[Tensor, Tensor]:
    weights = torch.rand(pixels, 2, generator=torch.Generator().manual_seed(seed)) / 2
    return weights @ ENDMEMBERS[:, :2], weights @ ENDMEMBERS


def test_mixtures_are_learned() -> None:
    network = new_network()
    record = fit_network(network, *mixtures(), epochs=300)
    inputs, targets = mixtures(seed=2)
    error = (network(inputs)[0] - targets).abs().mean()
    assert error < 0.003 < (new_network()(inputs)[0] - targets).abs().mean()
    assert len(record.losses) == record.best_epoch == 300
    assert record.held_out_losses == []
    assert record.losses[-1] < record.losses[0] / 50


def test_the_loss_and_the_step_are_those_of_adam() -> None:
    inputs, targets = mixtures()
    network, expected = new_network(), new_network()
    record = fit_network(network, inputs, targets, epochs=3, schedule=flat_schedule(1e-3))
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-3, eps=1e-7)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = (expected(inputs)[0] - targets).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert record.losses == pytest.approx(losses, rel=1e-6)
    assert torch.allclose(network.lin_hidden.weight, expected.lin_hidden.weight, atol=1e-6)


@pytest.mark.parametrize("batches", [None, 10, "tiles"])
def test_a_repeat_gives_equal_bits(batches: int | str | None) -> None:
    parts = tile_batches(8, 8, 3) if isinstance(batches, str) else batches
    networks = new_network(), new_network()
    records = [fit_network(network, *mixtures(), epochs=5, batches=parts) for network in networks]
    assert records[0].losses == records[1].losses
    assert torch.equal(networks[0].lin_latent.weight, networks[1].lin_latent.weight)


def test_the_seed_sets_the_order_of_the_pixels() -> None:
    first, second = (fit_network(new_network(), *mixtures(), epochs=3, batches=10, seed=seed) for seed in (0, 1))
    assert first.losses != second.losses


def test_every_pixel_is_used_once_per_epoch() -> None:
    inputs, targets = mixtures(10)
    # With a rate of 0 nothing changes, so every way of batching has the same mean loss.
    losses = [
        fit_network(new_network(), inputs, targets, epochs=1, schedule=flat_schedule(0.0), batches=batches).losses[0]
        for batches in (None, 3, tile_batches(2, 5, 2))
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


@pytest.mark.parametrize("batches", [None, 7, "tiles"])
def test_held_out_pixels_are_not_trained_on(batches: int | str | None) -> None:
    parts = tile_batches(8, 8, 4) if isinstance(batches, str) else batches
    inputs, targets = mixtures()
    held_out = torch.zeros(64, dtype=torch.bool)
    # The whole second tile, so that one batch has no pixel left.
    held_out[tile_batches(8, 8, 4)[1]] = True
    spoilt = torch.where(held_out[:, None], 5.0, targets)
    networks = new_network(), new_network()
    records = [
        fit_network(network, inputs, values, epochs=4, batches=parts, held_out=held_out)
        for network, values in zip(networks, (targets, spoilt), strict=True)
    ]
    assert records[0].losses == records[1].losses
    assert torch.equal(networks[0].lin_latent.weight, networks[1].lin_latent.weight)
    with torch.no_grad():
        after = (networks[1](inputs[held_out])[0] - 5.0).abs().mean()
    assert records[1].held_out_losses[-1] == pytest.approx(float(after), rel=1e-6)
    assert len(records[0].held_out_losses) == 4


def test_patience_stops_and_goes_back() -> None:
    inputs, targets = mixtures()
    held_out = torch.arange(64) < 8
    # The nearer the network comes to the other pixels, the farther it gets from these.
    targets = torch.where(held_out[:, None], -targets, targets)
    network = new_network()
    record = fit_network(network, inputs, targets, epochs=200, held_out=held_out, patience=5)
    lowest = min(record.held_out_losses)
    assert len(record.losses) < 200
    assert record.best_epoch == record.held_out_losses.index(lowest) + 1 == len(record.losses) - 5
    with torch.no_grad():
        assert float((network(inputs[held_out])[0] - targets[held_out]).abs().mean()) == pytest.approx(lowest, rel=1e-6)


def test_progress_is_told() -> None:
    told: list[tuple[int, float]] = []
    record = fit_network(new_network(), *mixtures(), epochs=3, on_epoch=lambda *args: told.append(args))
    assert told == list(enumerate(record.losses))


@pytest.mark.parametrize("batch_size", [1, 2, 63, 64, 1000])
def test_batches_of_any_size_predict_the_same(batch_size: int) -> None:
    network = new_network(hidden=256)
    pixels = mixtures(130)[0]
    whole, latent = predict_pixels(network, pixels, None)
    spectra, latent_parts = predict_pixels(network, pixels, batch_size)
    # Not equal bits: a product of matrices of another height may add in another order.
    assert torch.allclose(spectra, whole, rtol=0, atol=1e-6)
    assert torch.allclose(latent_parts, latent, rtol=0, atol=1e-6)


def test_predictions_are_clipped_and_have_no_gradient() -> None:
    network = new_network()
    pixels = 50 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    raw = network(pixels)[0]
    spectra, latent = predict_pixels(network, pixels)
    assert raw.min() < 0
    assert raw.max() > 1
    assert torch.allclose(spectra, raw.clamp(0, 1))
    assert not spectra.requires_grad
    assert not latent.requires_grad


def test_the_gradient_is_on_between_batches() -> None:
    for _ in predict_batches(new_network(), mixtures(10)[0], 3):
        assert torch.is_grad_enabled()


def test_no_pixels_to_predict() -> None:
    spectra, latent = predict_pixels(new_network(), torch.zeros(0, 2), None)
    assert spectra.shape == (0, 4)
    assert latent.shape == (0, 2)


def test_bad_input() -> None:
    network, (inputs, targets) = new_network(), mixtures()
    held_out = torch.zeros(64, dtype=torch.bool)
    with pytest.raises(InputError, match=r"inputs have shape \(64, 1\)"):
        fit_network(network, inputs[:, :1], targets)
    with pytest.raises(InputError, match=r"targets have shape \(64, 3\); expected \(64, 4\)"):
        fit_network(network, inputs, targets[:, :3])
    with pytest.raises(InputError, match="epochs is 0"):
        fit_network(network, inputs, targets, epochs=0)
    with pytest.raises(InputError, match="batches is 0"):
        fit_network(network, inputs, targets, batches=0)
    with pytest.raises(InputError, match=r"held_out has dtype torch\.int64"):
        fit_network(network, inputs, targets, held_out=held_out.long())
    with pytest.raises(InputError, match="patience is 3, but no pixel is held out"):
        fit_network(network, inputs, targets, held_out=held_out, patience=3)
    with pytest.raises(InputError, match="no pixel is left"):
        fit_network(network, inputs, targets, held_out=~held_out)
    with pytest.raises(InputError, match="the loss is inf in epoch 1"):
        fit_network(network, inputs, targets * torch.inf, epochs=2)
    with pytest.raises(InputError, match="batch_size is 0"):
        predict_pixels(network, inputs, 0)
    with pytest.raises(InputError, match=r"pixels have shape \(64, 4\)"):
        predict_batches(network, targets)
