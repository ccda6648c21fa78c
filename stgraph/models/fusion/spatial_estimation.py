"""Training of the spatial network at the low scale of one scene, and its use at the high one."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.models.fusion.prior import enlarge
from stgraph.models.fusion.spatial_network import SpatialEstimationNetwork, check_image
from stgraph.models.fusion.training import FitRecord, check_training, train_epochs
from stgraph.nn.mgat import EdgeGeometry
from stgraph.ops.fusion.tiling import tiles

__all__ = ["SpatialEstimationNetwork", "fit_spatial", "predict_spatial"]


def fit_spatial(
    network: SpatialEstimationNetwork,
    lr_bands: Tensor,
    lr_hsi: Tensor,
    prior: Tensor,
    *,
    epochs: int = 2500,
    schedule: Callable[[int], float] | None = None,
    held_out: Tensor | None = None,
    patience: int | None = None,
    component_noise: float = 1.0,
    seed: int = 42,
    on_epoch: Callable[[int, float], None] | None = None,
) -> FitRecord:
    """Train the network at the low scale, by the mean absolute error and Adam, all pixels in one step per epoch.

    The principal components are taken from the low-resolution spectra first. Some hundred pixels of smooth components
    are few: the network could tell the place of each from them and learn the image by heart. Noise on the components,
    new in every step, keeps it from that. Runs with equal arguments on one machine give equal bits. The network is
    trained in place from the parameters that it has.

    Args:
        network: The network.
        lr_bands: The multispectral bands that the low-resolution pixels have.
        lr_hsi: Their spectra, which the network learns to give.
        prior: The spectra of a coarser scale enlarged to the same size, by
            :func:`~stgraph.models.fusion.coarse_prior` with ``upsample="bilinear"``. With one band and 121 or
            144 pixels a factor of 2 was better than 4; with four bands the two were alike.
        epochs: Number of steps.
        schedule: Learning rate by the index of the epoch from 0; by default
            :func:`~stgraph.models.fusion.one_cycle_schedule` with its defaults.
        held_out: True at the pixels, row by row, whose spectra are not trained on, such as of
            :func:`~stgraph.models.fusion.held_out_blocks`. As neighbours their bands are read.
        patience: Stop after this many epochs without a lower held-out loss, and go back to the parameters of the
            epoch with the lowest; ``None`` for all epochs and the last parameters.
        component_noise: Standard deviation of the noise over that of each component. The losses that are told of the
            pixels trained on are with it, those of the held-out ones without.
        seed: Seed of the noise.
        on_epoch: Called after every epoch with its index from 0 and its loss.

    Shapes:
        - **lr_bands:** :math:`(b, h, w)`, **lr_hsi** and **prior:** :math:`(C, h, w)`, **held_out:** :math:`(h w)`

    Raises:
        InputError: If shapes do not fit, a number is below 1, the noise is negative or not finite, no pixel is left to
            train on, patience is given without held-out pixels, or the loss becomes infinite or no number.

    Examples:
        >>> from stgraph.models.fusion import coarse_prior
        >>> lr_hsi = torch.linspace(0, 1, 64).view(1, 8, 8) * torch.tensor([0.5, 1.0])[:, None, None]
        >>> network = SpatialEstimationNetwork(1, torch.tensor([[0.5, 1.0]]), components=1, hidden=8)
        >>> record = fit_spatial(network, lr_hsi[:1], lr_hsi, coarse_prior(lr_hsi, 2, "bilinear"), epochs=50)
        >>> record.losses[-1] < record.losses[0]
        True
    """
    check_image("lr_bands", lr_bands, network.in_channels)
    size = lr_bands.shape[1:]
    for name, image in (("lr_hsi", lr_hsi), ("prior", prior)):
        check_image(name, image, network.mean.shape[0], size)
    targets = lr_hsi.flatten(1).T
    check_training(targets.shape[0], epochs, held_out, patience)
    if not 0 <= component_noise < math.inf:
        raise InputError(f"component_noise is {component_noise}; expected a finite number, at least 0")
    network.set_components(lr_hsi)
    inputs = torch.cat([lr_bands, network.project(prior)]).flatten(1).T
    spread = component_noise * inputs.std(dim=0, correction=0)
    spread[: network.in_channels] = 0
    generator = torch.Generator(inputs.device).manual_seed(seed)
    graph = network.pixel_graph(*size)
    kept = slice(None) if held_out is None else ~held_out

    def step(optimizer: torch.optim.Optimizer) -> float:
        optimizer.zero_grad(set_to_none=True)
        noise = torch.empty_like(inputs).normal_(generator=generator)
        loss = F.l1_loss(network(inputs + spread * noise, graph)[0][kept], targets[kept])
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def outside() -> float:
        return float(F.l1_loss(network(inputs, graph)[0][held_out], targets[held_out]))

    return train_epochs(
        network, step, None if held_out is None else outside,
        epochs=epochs, schedule=schedule, patience=patience, on_epoch=on_epoch,
    )  # fmt: skip


def predict_spatial(
    network: SpatialEstimationNetwork,
    bands: Tensor,
    lr_hsi: Tensor,
    *,
    upsample: str = "bilinear",
    tile: int | None = 128,
) -> Tensor:
    """Estimate the latent maps of a high-resolution image, tile by tile.

    The low-resolution spectra are projected to their components before they are enlarged, which gives the same as the
    other order and never holds a hyperspectral image of the high resolution. The spectra of a pixel are its latent
    estimates times the endmembers.

    Args:
        network: The trained network.
        bands: The high-resolution multispectral image.
        lr_hsi: The low-resolution hyperspectral image, which is the coarse one here.
        upsample: How to enlarge: ``"nearest"``, ``"bilinear"`` or ``"bicubic"``.
        tile: Rows and columns of a tile, which has as many more around it as the network has layers; ``None`` for the
            image in one piece. It bounds the memory and changes the numbers by rounding alone.

    Shapes:
        - **bands:** :math:`(b, H, W)`
        - **lr_hsi:** :math:`(C, h, w)`
        - **output:** :math:`(K, H, W)`

    Raises:
        InputError: If an image does not fit the network, the size of the bands is below that of the spectra, the tile
            is below 1, or no way of enlarging has that name.

    Examples:
        >>> network = SpatialEstimationNetwork(2, torch.eye(3), components=2, hidden=4)
        >>> predict_spatial(network, torch.zeros(2, 8, 12), torch.zeros(3, 2, 3)).shape
        torch.Size([3, 8, 12])
    """
    check_image("bands", bands, network.in_channels)
    if tile is not None and tile < 1:
        raise InputError(f"tile is {tile}; expected at least 1, or None for the image in one piece")
    height, width = bands.shape[1:]
    coarse = enlarge(network.project(lr_hsi), (height, width), upsample)
    latent = bands.new_empty(network.endmembers.shape[0], height, width)
    graphs: dict[tuple[int, int], EdgeGeometry] = {}
    parts = tiles(height, width, max(height, width) if tile is None else tile, halo=len(network.layers))
    for part in parts:
        piece = torch.cat([bands[(slice(None), *part.outer)], coarse[(slice(None), *part.outer)]])
        size = (piece.shape[1], piece.shape[2])
        if size not in graphs:
            graphs[size] = network.pixel_graph(*size)
        with torch.no_grad():
            estimate = network(piece.flatten(1).T, graphs[size])[1]
        latent[(slice(None), *part.inner)] = estimate.T.unflatten(1, size)[(slice(None), *part.local)]
    return latent
