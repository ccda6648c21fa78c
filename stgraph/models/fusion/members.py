"""One network of an ensemble: trained at low resolution, applied at high resolution."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from stgraph.models.fusion.correction import FusionScene
from stgraph.models.fusion.latent_estimation import LatentEstimationNetwork
from stgraph.models.fusion.prior import coarse_prior, enlarge
from stgraph.models.fusion.sampling import held_out_blocks, tile_batches
from stgraph.models.fusion.schedules import flat_schedule, one_cycle_schedule
from stgraph.models.fusion.spatial_estimation import SpatialEstimationNetwork, fit_spatial, predict_spatial
from stgraph.models.fusion.training import FitRecord, fit_network, predict_batches
from stgraph.ops.fusion import apply_response

__all__ = ["FEWEST_BANDS", "TrainedMember", "Training", "train_member"]

#: Multispectral bands that tell materials apart by themselves.
FEWEST_BANDS = 3
_PRIOR_FACTOR = 4
# A network that sees neighbours learns where it is from a very smooth prior.
_FEW_BANDS_FACTOR = 2

Network = TypeVar("Network", LatentEstimationNetwork, SpatialEstimationNetwork)


class Training(NamedTuple):
    """How a network is made and trained, see :class:`~stgraph.models.fusion.LatentEstimationFusion`."""

    hidden: int
    constraint: str | None
    epochs: int
    init_lr: float
    max_lr: float
    final_lr: float
    schedule: str
    batch_size: int | None
    tile: int | None
    prior_factor: int | None
    prior_upsample: str
    held_out: float
    patience: int | None
    inference_batch_size: int | None

    def learning_rates(self) -> Callable[[int], float]:
        """The learning rate by the index of the epoch."""
        if self.schedule == "flat":
            return flat_schedule(self.max_lr)
        return one_cycle_schedule(self.epochs, self.init_lr, self.max_lr, self.final_lr)


class TrainedMember(NamedTuple):
    """The latent maps ``[K, H, W]`` of a trained network, how its training went, and what it costs."""

    latent: Tensor
    record: FitRecord
    parameters: int
    multiply_adds: int


@torch.inference_mode(False)  # training needs gradients wherever it is called
def train_member(
    scene: FusionScene,
    endmembers: Tensor,
    training: Training,
    prior: bool,
    spatial: str | None,
    seed: int,
    on_epoch: Callable[[int, float], None] | None,
) -> TrainedMember:
    """Train one network on the low-resolution pixels and apply it to the high-resolution ones."""
    height, width = scene.lr_hsi.shape[1:]
    held_out = held_out_blocks(height, width, training.held_out, seed=seed).to(scene.lr_hsi.device)
    outside = held_out if bool(held_out.any()) else None
    # With the prior the loss falls on while the image gets worse.
    stops = outside is not None and (prior or spatial is not None)
    patience = training.epochs if training.patience is None and stops else training.patience
    patience = patience if outside is not None else None
    if spatial is not None:
        return _spatial_member(scene, endmembers, training, seed, outside, patience, on_epoch)
    count = scene.hr_msi.shape[0] + (scene.lr_hsi.shape[0] if prior else 0)
    network = _draw(
        lambda: LatentEstimationNetwork(count, endmembers.cpu(), training.hidden, training.constraint), seed
    ).to(endmembers.device)
    inputs = apply_response(scene.lr_hsi, scene.srf)
    if prior:
        factor = min(training.prior_factor or _PRIOR_FACTOR, height, width)
        inputs = torch.cat([inputs, coarse_prior(scene.lr_hsi, factor, training.prior_upsample)])
    batches = training.batch_size if training.tile is None else tile_batches(height, width, training.tile)
    record = fit_network(
        network,
        inputs.flatten(1).T.contiguous(),
        scene.lr_hsi.flatten(1).T.contiguous(),
        epochs=training.epochs,
        schedule=training.learning_rates(),
        batches=batches,
        held_out=outside,
        patience=patience,
        seed=seed,
        on_epoch=on_epoch,
    )
    latent = _predict_latent(network, scene, training, prior)
    return _member(network, latent, record)


def _draw(make: Callable[[], Network], seed: int) -> Network:
    """Make a network with weights of the seed, drawn on the CPU, so that they are the same on every device."""
    with torch.random.fork_rng(devices=[]):  # layers draw weights of torch's own generator when they are made
        network = make()
    network.reset_parameters(torch.Generator().manual_seed(seed))
    return network


def _predict_latent(network: LatentEstimationNetwork, scene: FusionScene, training: Training, prior: bool) -> Tensor:
    """Latent maps, row strip by row strip, so that a prior enlarged to the nearest is never held whole.

    In double precision, so that they are the same for any batch size: a matrix product of other height adds in another
    order, and the steps of the guided correction, which stop early, make much of the last digit.
    """
    exact, mode = copy.deepcopy(network).double(), training.prior_upsample
    image, size = scene.clean_msi, (scene.clean_msi.shape[1], scene.clean_msi.shape[2])
    latent = image.new_empty(network.endmembers.shape[0], *size)
    rows = size[0] if training.inference_batch_size is None else max(1, training.inference_batch_size // size[1])
    # Other ways than "nearest" make the whole image whatever the rows, so that they do it once.
    whole = enlarge(scene.lr_hsi, size, mode) if prior and mode != "nearest" else None
    for first in range(0, size[0], rows):
        part = slice(first, min(first + rows, size[0]))
        pixels = image[:, part]
        if prior:
            coarse = enlarge(scene.lr_hsi, size, rows=part) if whole is None else whole[:, part]
            pixels = torch.cat([pixels, coarse])
        inputs = pixels.flatten(1).T.double()
        for where, _, estimate in predict_batches(exact, inputs, training.inference_batch_size):
            latent[:, part].flatten(1)[:, where] = estimate.T
    return latent


def _spatial_member(
    scene: FusionScene,
    endmembers: Tensor,
    training: Training,
    seed: int,
    held_out: Tensor | None,
    patience: int | None,
    on_epoch: Callable[[int, float], None] | None,
) -> TrainedMember:
    lr_hsi = scene.lr_hsi
    components = min(8, *endmembers.shape[1:], lr_hsi[0].numel())
    network = _draw(
        lambda: SpatialEstimationNetwork(
            scene.hr_msi.shape[0],
            endmembers.cpu(),
            components=components,
            hidden=training.hidden,
            constraint=training.constraint,
        ),
        seed,
    ).to(endmembers.device)
    usual = _PRIOR_FACTOR if scene.hr_msi.shape[0] >= FEWEST_BANDS else _FEW_BANDS_FACTOR
    factor = min(training.prior_factor or usual, *lr_hsi.shape[1:])
    record = fit_spatial(
        network,
        apply_response(lr_hsi, scene.srf),
        lr_hsi,
        coarse_prior(lr_hsi, factor, "bilinear"),
        epochs=training.epochs,
        schedule=training.learning_rates(),
        held_out=held_out,
        patience=patience,
        seed=seed,
        on_epoch=on_epoch,
    )
    size = training.inference_batch_size
    # In double precision for the same reason as that of _predict_latent: tiles too add in another order.
    latent = predict_spatial(
        copy.deepcopy(network).double(),
        scene.clean_msi.double(),
        lr_hsi.double(),
        tile=None if size is None else max(1, math.isqrt(size)),
    ).to(lr_hsi)
    return _member(network, latent, record)


def _member(network: torch.nn.Module, latent: Tensor, record: FitRecord) -> TrainedMember:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    weights = sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, torch.nn.Linear))
    mixing = sum(buffer.numel() for name, buffer in network.named_buffers() if name.endswith("endmembers"))
    return TrainedMember(latent, record, parameters, (weights + mixing) * latent[0].numel())
