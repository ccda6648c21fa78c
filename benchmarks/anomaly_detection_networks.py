"""The autoencoders that the benchmark of anomaly detection trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.models.autoencoders.reconstructor import SeriesReconstructor
from stgraph.models.autoencoders.spectral_cnn import SpectralCNNAutoencoder
from stgraph.nn.spectral_loss import SpectralLoss
from stgraph.ops.anomaly import predict_hidden
from stgraph.ops.anomaly.graph_residual import ScaledSpectra

EPOCHS, BATCH_SIZE, LEARNING_RATE, CLIP = 50, 32, 1e-3, 1.0
#: The masked network: points of a hidden block, blocks of which one is hidden, epochs, and its sizes.
BLOCK, PASSES, MASKED_EPOCHS = 64, 4, 80
MASKED: dict[str, Any] = {"encoder_hidden_dims": [256, 128], "latent_dim": 32}


def train(
    network: nn.Module, spectra: int, loss: Callable[[Tensor, torch.Generator], Tensor], epochs: int, seed: int
) -> None:
    """Train on all spectra; ``loss`` gets the numbers of those in a batch."""
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(spectra, generator=generator).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss(rows, generator).backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
    network.eval()


def trained_autoencoder(
    x: Tensor, mask: Tensor, preset: str, kind: Any, epochs: int, seed: int, **options: Any
) -> SpectralCNNAutoencoder:
    """A convolutional autoencoder that was trained on scaled spectra ``[N, L]``, by a kind of spectral loss."""
    torch.manual_seed(seed)
    network = SpectralCNNAutoencoder.from_preset(preset, **options)
    criterion = SpectralLoss(kind)
    x, mask = x.unsqueeze(2), mask.unsqueeze(2)

    def loss(rows: Tensor, generator: torch.Generator) -> Tensor:
        value: Tensor = criterion(network(x[rows])["reconstructed"], x[rows], mask[rows])
        return value

    train(network, len(x), loss, epochs, seed)
    return network


def trained_masked(spectra: ScaledSpectra, epochs: int, seed: int) -> SeriesReconstructor:
    """A network that predicts hidden blocks of scaled spectra and how sure it is, by the Gaussian likelihood.

    Each time a spectrum is seen, every fourth block is hidden, from a random point on.
    """
    torch.manual_seed(seed)
    x, mask, error = (value.unsqueeze(2) for value in (spectra.x, spectra.mask, spectra.error))
    network = SeriesReconstructor("mlp", channels=1, steps=x.shape[1], arguments=MASKED, uncertainty=True)
    steps = torch.arange(x.shape[1])

    def loss(rows: Tensor, generator: torch.Generator) -> Tensor:
        offset = torch.randint(0, BLOCK * PASSES, (len(rows), 1), generator=generator)
        hidden = ((steps + offset) // BLOCK % PASSES == 0).unsqueeze(2)
        batch = Data(x=x[rows], mask=mask[rows], hidden=hidden | ~mask[rows], batch_size=len(rows))
        output = network(batch)
        variance = output["log_variance"].exp() + error[rows].square()
        points = (x[rows] - output["mean"]).square() / variance + variance.log()
        return points[hidden & mask[rows]].mean() / 2

    train(network, len(x), loss, epochs, seed)
    return network


@torch.no_grad()
def predicted(network: SeriesReconstructor, spectra: ScaledSpectra) -> tuple[Tensor, Tensor | None]:
    """Mean and logarithm of the variance of every point ``[N, L, 1]``, which was hidden from the network."""

    def reconstruct(x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        output = network(Data(x=x, mask=torch.ones_like(hidden), hidden=hidden, batch_size=len(x)))
        return output["mean"], output["log_variance"]

    return predict_hidden(reconstruct, spectra.x.unsqueeze(2), spectra.mask.unsqueeze(2), BLOCK, PASSES)
