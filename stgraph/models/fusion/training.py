"""Training of the network on the pixels of one scene, and its use on all of them."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.models.fusion.latent_estimation import LatentEstimationNetwork
from stgraph.models.fusion.schedules import one_cycle_schedule

__all__ = ["FitRecord", "fit_network", "predict_batches", "predict_pixels"]


@dataclass
class FitRecord:
    """What a training run did.

    Args:
        losses: Mean absolute error of every epoch over the pixels that are trained on.
        held_out_losses: The same over the held-out pixels, after the steps of the epoch; empty without such pixels.
        best_epoch: Epoch (from 1) whose parameters the network has now.
        seconds: Wall-clock time.
    """

    losses: list[float] = field(default_factory=list)
    held_out_losses: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0


def fit_network(
    network: LatentEstimationNetwork,
    inputs: Tensor,
    targets: Tensor,
    *,
    epochs: int = 2500,
    schedule: Callable[[int], float] | None = None,
    batches: int | list[Tensor] | None = None,
    held_out: Tensor | None = None,
    patience: int | None = None,
    seed: int = 42,
    on_epoch: Callable[[int, float], None] | None = None,
) -> FitRecord:
    r"""Train the network on pairs of bands and spectra, by the mean absolute error and Adam (epsilon 1e-7).

    Runs with equal arguments on one machine give equal bits. The network is trained in place from the parameters that
    it has; ``network.reset_parameters(generator)`` draws new ones.

    Args:
        network: The network.
        inputs: What it reads: multispectral bands of the low-resolution pixels, and the prior where it takes one.
        targets: Their spectra.
        epochs: Number of passes over the pixels.
        schedule: Learning rate by the index of the epoch from 0; by default
            :func:`~stgraph.models.fusion.one_cycle_schedule` with its defaults.
        batches: ``None`` for all pixels in one step per epoch, a number of pixels that each step draws at random
            without replacement, or index tensors, such as of
            :func:`~stgraph.models.fusion.tile_batches`, for one step each in their order.
        held_out: True at the pixels that are not trained on, such as of
            :func:`~stgraph.models.fusion.held_out_blocks`.
        patience: Stop after this many epochs without a lower held-out loss, and go back to the parameters of the
            epoch with the lowest; ``None`` for all epochs and the last parameters.
        seed: Seed of the order of the pixels.
        on_epoch: Called after every epoch with its index from 0 and its loss.

    Shapes:
        - **inputs:** :math:`(n, c_{in})`, **targets:** :math:`(n, C)`, **held_out:** :math:`(n)`

    Raises:
        InputError: If shapes do not fit, a number is below 1, no pixel is left to train on, patience is given without
            held-out pixels, or the loss becomes infinite or no number.

    Examples:
        >>> network = LatentEstimationNetwork(1, torch.tensor([[1.0, 2.0]]), hidden=8)
        >>> inputs = torch.linspace(0, 1, 16)[:, None]
        >>> record = fit_network(network, inputs, inputs * torch.tensor([[1.0, 2.0]]), epochs=50)
        >>> record.losses[-1] < record.losses[0], len(record.losses)
        (True, 50)
    """
    _check_fit(network, inputs, targets, epochs, batches, held_out, patience)
    kept = torch.arange(inputs.shape[0]) if held_out is None else (~held_out.cpu()).nonzero().squeeze(1)
    generator = torch.Generator().manual_seed(seed)

    def step(optimizer: torch.optim.Optimizer) -> float:
        return _run_epoch(network, optimizer, inputs, targets, _epoch_batches(kept, batches, generator))

    def outside() -> float:
        return float(F.l1_loss(network(inputs[held_out])[0], targets[held_out]))

    return train_epochs(
        network,
        step,
        None if held_out is None else outside,
        epochs=epochs,
        schedule=schedule,
        patience=patience,
        on_epoch=on_epoch,
    )


def train_epochs(
    network: nn.Module,
    step: Callable[[torch.optim.Optimizer], float],
    held_out_loss: Callable[[], float] | None,
    *,
    epochs: int,
    schedule: Callable[[int], float] | None,
    patience: int | None,
    on_epoch: Callable[[int, float], None] | None,
) -> FitRecord:
    """Train a network by Adam; the caller does the steps of an epoch and says what the loss is.

    Args:
        network: The network, trained in place.
        step: Takes the steps of one epoch with the optimizer and returns their mean loss.
        held_out_loss: Returns the loss where nothing is trained on; called without gradients.
        epochs: As in :func:`fit_network`, like the other arguments.
        schedule: Learning rate by epoch.
        patience: Epochs without a lower held-out loss.
        on_epoch: Called after every epoch.

    Raises:
        InputError: If the loss becomes infinite or no number.
    """
    start = time.perf_counter()
    optimizer = torch.optim.Adam(network.parameters(), lr=1.0, eps=1e-7)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule or one_cycle_schedule(epochs))
    record = FitRecord()
    best_state, best_epoch, lowest = None, 0, math.inf
    network.train()
    for epoch in range(epochs):
        loss = step(optimizer)
        if not math.isfinite(loss):
            raise InputError(f"the loss is {loss} in epoch {epoch + 1}; expected a finite one: try a lower rate")
        scheduler.step()
        record.losses.append(loss)
        record.best_epoch = epoch + 1
        if on_epoch is not None:
            on_epoch(epoch, loss)
        if held_out_loss is not None:
            with torch.no_grad():
                outside = held_out_loss()
            record.held_out_losses.append(outside)
            if patience is not None and outside < lowest:
                best_state, lowest, best_epoch = copy.deepcopy(network.state_dict()), outside, epoch + 1
            elif patience is not None and epoch + 1 - best_epoch >= patience:
                break
    if best_state is not None:
        network.load_state_dict(best_state)
        record.best_epoch = best_epoch
    network.eval()
    record.seconds = time.perf_counter() - start
    return record


def predict_batches(
    network: LatentEstimationNetwork, pixels: Tensor, batch_size: int | None = 16384
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Estimate the spectra of pixels, some at a time, so that a large image need not fit into memory.

    Args:
        network: The trained network.
        pixels: What it reads.
        batch_size: Number of pixels at a time; ``None`` for all. It bounds the memory, which is that of the hidden
            layer, and changes the numbers by rounding alone: a matrix product of other height may add in another
            order.

    Shapes:
        - **pixels:** :math:`(N, c_{in})`

    Returns:
        For every batch the pixels it is of, their spectra :math:`(B, C)` clipped to [0, 1], and their latent
        estimates :math:`(B, K)`.

    Raises:
        InputError: If the batch size is below 1 or the pixels do not fit the network.

    Examples:
        >>> network = LatentEstimationNetwork(2, torch.eye(3), hidden=4)
        >>> [(where, spectra.shape[0]) for where, spectra, _ in predict_batches(network, torch.zeros(5, 2), 3)]
        [(slice(0, 3, None), 3), (slice(3, 5, None), 2)]
    """
    if pixels.dim() != 2 or pixels.shape[1] != network.in_channels:
        raise InputError(f"pixels have shape {tuple(pixels.shape)}; expected (pixels, {network.in_channels})")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; expected at least 1, or None for all pixels")
    return _batches(network, pixels, batch_size or max(pixels.shape[0], 1))


def predict_pixels(
    network: LatentEstimationNetwork, pixels: Tensor, batch_size: int | None = 16384
) -> tuple[Tensor, Tensor]:
    """Estimate the spectra of all pixels by :func:`predict_batches` and put them together.

    Shapes:
        - **pixels:** :math:`(N, c_{in})`
        - **output:** spectra :math:`(N, C)` in [0, 1], latent estimates :math:`(N, K)`

    Raises:
        InputError: If the batch size is below 1 or the pixels do not fit the network.

    Examples:
        >>> network = LatentEstimationNetwork(2, torch.eye(3), hidden=4)
        >>> spectra, latent = predict_pixels(network, torch.zeros(5, 2), batch_size=2)
        >>> spectra.shape, latent.shape
        (torch.Size([5, 3]), torch.Size([5, 3]))
    """
    count, bands = network.endmembers.shape
    spectra, latent = pixels.new_empty(pixels.shape[0], bands), pixels.new_empty(pixels.shape[0], count)
    for where, part, latent_part in predict_batches(network, pixels, batch_size):
        spectra[where], latent[where] = part, latent_part
    return spectra, latent


def _batches(network: LatentEstimationNetwork, pixels: Tensor, size: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    for first in range(0, pixels.shape[0], size):
        where = slice(first, min(first + size, pixels.shape[0]))
        # Not around the loop: a generator would leave the gradient off while its caller works.
        with torch.no_grad():
            spectra, latent = network(pixels[where])
        yield where, spectra.clamp(0, 1), latent


def _run_epoch(
    network: LatentEstimationNetwork,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    batches: list[Tensor],
) -> float:
    """Take one step per batch and return the mean loss over the pixels."""
    total = inputs.new_zeros(())
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = F.l1_loss(network(inputs[batch])[0], targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.detach() * batch.shape[0]
    return float(total) / sum(batch.shape[0] for batch in batches)


def _epoch_batches(kept: Tensor, batches: int | list[Tensor] | None, generator: torch.Generator) -> list[Tensor]:
    if batches is None:
        return [kept]
    if isinstance(batches, int):
        order = kept[torch.randperm(kept.shape[0], generator=generator)]
        return list(order.split(batches))
    parts = [batch[torch.isin(batch, kept)] for batch in batches]
    return [part for part in parts if part.shape[0]]


def _check_fit(
    network: LatentEstimationNetwork,
    inputs: Tensor,
    targets: Tensor,
    epochs: int,
    batches: int | list[Tensor] | None,
    held_out: Tensor | None,
    patience: int | None,
) -> None:
    if inputs.dim() != 2 or inputs.shape[1] != network.in_channels:
        raise InputError(f"inputs have shape {tuple(inputs.shape)}; expected (pixels, {network.in_channels})")
    expected = (inputs.shape[0], network.endmembers.shape[1])
    if targets.shape != expected:
        raise InputError(f"targets have shape {tuple(targets.shape)}; expected {expected}")
    if isinstance(batches, int) and batches < 1:
        raise InputError(f"batches is {batches}; expected at least 1")
    check_training(inputs.shape[0], epochs, held_out, patience)


def check_training(pixels: int, epochs: int, held_out: Tensor | None, patience: int | None) -> None:
    """Refuse what :func:`train_epochs` cannot work with.

    Raises:
        InputError: If a number is below 1, no pixel is left to train on, held_out is no mask of the pixels, or
            patience is given without held-out pixels.
    """
    for name, value in (("epochs", epochs), ("patience", patience)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    if held_out is not None and (held_out.dtype != torch.bool or held_out.shape != (pixels,)):
        raise InputError(
            f"held_out has dtype {held_out.dtype} and shape {tuple(held_out.shape)}; expected torch.bool and "
            f"{(pixels,)}"
        )
    if patience is not None and (held_out is None or not held_out.any()):
        raise InputError(f"patience is {patience}, but no pixel is held out; expected held_out with some True")
    if pixels == 0 or (held_out is not None and held_out.all()):
        raise InputError("no pixel is left to train on; expected at least one")
