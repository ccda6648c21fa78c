"""The series of a reconstruction run: split, connected, scaled, and shared out in batches."""

from __future__ import annotations

import copy

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import observed_entries
from stgraph.data.series_loader import SeriesLoader
from stgraph.data.series_scaling import ScaleSeries
from stgraph.data.transforms import KNNGraph
from stgraph.errors import InputError
from stgraph.ops.block_masks import block_masks, sample_seeds
from stgraph.tasks.reconstruction_options import ReconstructionOptions

__all__ = ["STAGES", "ReconstructionData", "connected", "hold_out", "split_series"]

#: The stages of a run.
STAGES = ("train", "val", "test")

_USUAL_STEPS = 512
# Numbers of the draws that choose what is held out, apart from all epochs of training.
_TEST_DRAW, _VAL_DRAW = 2**62, 2**62 + 1


class ReconstructionData(LightningDataModule):
    """The series of a run for its three stages.

    Split by series, some series train and others validate and test, with masks that never change. Split by entries,
    all series train on what is left after blocks of entries were taken out; these blocks are hidden for validation and
    test, where everything else that was observed is shown, and each node's centre and spread come from what is left.

    Split by series, centre and spread of a series come from all its observed points, hidden ones included, as LC-Gen
    has it: a hidden outlier can move them a little. The simple reconstructions are scaled alike.

    Args:
        data: The series as they were read.
        options: The options of the run.
        split: Whether to split by series, where the options say so; otherwise each stage has all.

    Raises:
        InputError: If there is too little to split, or an option does not fit the data.
    """

    def __init__(self, data: Data, options: ReconstructionOptions, *, split: bool = True) -> None:
        super().__init__()
        self.options = options
        source, masking = options.data, options.masking
        self.split = split
        graph = copy.copy(data)
        self.steps = source.steps or (data.x.shape[1] if data.get("time") is None else _USUAL_STEPS)
        self.steps = min(self.steps, data.x.shape[1])
        masking.check(self.steps)
        if options.model.neighbors:
            graph = connected(graph, options)
        self.nodes: dict[str, Tensor | None] = dict.fromkeys(STAGES)
        self.held: dict[str, Tensor] = {}
        fit_mask: Tensor | None = None
        if source.split_by == "series":
            self.nodes = self.nodes if not split else dict(split_series(graph, source.val, source.test, options.seed))
        else:
            self.held = hold_out(graph, source.val, source.test, source.max_held_block, options.seed)
            fit_mask = ~(self.held["val"] | self.held["test"])
        scaling = source.scaling or "robust"
        self.data = ScaleSeries(scaling, source.steps_per_cycle, fit_mask)(graph)

    @property
    def edge_channels(self) -> int:
        """Number of edge attributes."""
        attributes = self.data.get("edge_attr")
        return 0 if attributes is None else int(attributes.shape[-1])

    def stage_data(self, stage: str) -> Data:
        """The series as a stage knows them: training does not know held-out entries, validation not those of test."""
        unknown = {"train": ("val", "test"), "val": ("test",), "test": ()}[stage] if self.held else ()
        if not unknown:
            return self.data
        data = copy.copy(self.data)
        observed = observed_entries(data)
        for name in unknown:
            observed = observed & ~self.held[name]
        data.mask = observed
        return data

    def loader(self, stage: str, *, rank: int = 0, world_size: int = 1) -> SeriesLoader:
        """Return the batches of a stage, shuffled and with new masks in every epoch for training alone."""
        train = stage == "train"
        hidden = self.held.get(stage)
        return SeriesLoader(
            self.stage_data(stage),
            steps=self.steps,
            nodes=self.nodes[stage],
            masking=self.options.masking if hidden is None else None,
            hidden=hidden,
            neighbors=self.options.model.neighbors > 0,
            random=train,
            batch_size=self.options.data.batch_size or 32,
            shuffle=train,
            seed=self.options.seed if train else self.options.seed + 1,
            rank=rank,
            world_size=world_size,
        )

    def _shared_loader(self, stage: str) -> SeriesLoader:
        trainer = self.trainer
        if trainer is None:
            return self.loader(stage)
        return self.loader(stage, rank=trainer.global_rank, world_size=trainer.world_size)

    def train_dataloader(self) -> SeriesLoader:
        """Return this process's share of the training batches."""
        return self._shared_loader("train")

    def val_dataloader(self) -> SeriesLoader:
        """Return this process's share of the validation batches."""
        return self._shared_loader("val")

    def transfer_batch_to_device(self, batch: Data, device: torch.device, dataloader_idx: int) -> Data:
        """Move a batch."""
        return batch.to(device)


def split_series(data: Data, val: float, test: float, seed: int) -> dict[str, Tensor]:
    """Return the nodes of each stage, so that no star is in two of them.

    Nodes with the same name, or the same entry of ``metadata["star"]``, are one star.
    """
    count = data.x.shape[0]
    stars = (data.get("metadata") or {}).get("star", data.get("node_names"))
    groups = np.arange(count) if stars is None else np.unique(np.asarray(stars), return_inverse=True)[1]
    number = int(groups.max()) + 1
    order = np.random.default_rng(seed).permutation(number)
    # A share that is not zero is at least one star.
    first = max(round(test * number), 1) if test else 0
    second = first + max(round(val * number), 1)
    if second >= number:
        raise InputError(f"{number} series cannot be split: data.val {val} and data.test {test} leave none to train on")
    place = np.empty(number, dtype=np.int64)
    place[order] = np.arange(number)
    rank = place[groups]
    return {
        "train": torch.from_numpy(np.flatnonzero(rank >= second)),
        "val": torch.from_numpy(np.flatnonzero((rank >= first) & (rank < second))),
        "test": torch.from_numpy(np.flatnonzero(rank < first)),
    }


def hold_out(data: Data, val: float, test: float, max_block: int, seed: int) -> dict[str, Tensor]:
    """Return the observed entries ``[N, T, C]`` that validation and test hold out: blocks of steps of all channels."""
    nodes, steps, _ = data.x.shape
    observed = observed_entries(data)
    length = torch.full((nodes,), steps) if data.get("length") is None else data.length
    index = torch.arange(nodes)
    drawn = {}
    for name, draw, share in (("test", _TEST_DRAW, test), ("val", _VAL_DRAW, val / (1 - test))):
        if share == 0:
            drawn[name] = torch.zeros(nodes, steps, dtype=torch.bool)
            continue
        # Blocks longer than the share allows would hold out more than it.
        largest = max(1, min(max_block, int(share * steps)))
        drawn[name] = block_masks(
            length,
            steps,
            sample_seeds(seed, draw, index),
            max_block_size=largest,
            min_mask_ratio=share,
            max_mask_ratio=share,
        ).mask
    test_entries = drawn["test"][..., None] & observed
    return {"test": test_entries, "val": drawn["val"][..., None] & observed & ~test_entries}


def connected(data: Data, options: ReconstructionOptions) -> Data:
    """Give the series the edges that the options ask for.

    Raises:
        InputError: If there are no coordinates, or too few nodes.
    """
    source = options.data
    nodes = data.x.shape[0]
    if source.edges == "knn":
        if data.get("pos") is None:
            raise InputError("model.neighbors needs coordinates (pos, or ra and dec of stars), and the data has none")
        if source.k >= nodes:
            raise InputError(f"data.k is {source.k}; expected less than the number of nodes, {nodes}")
        data = KNNGraph(source.k)(data)
    elif data.get("edge_index") is None:
        raise InputError("data.edges is 'own', but the data has no edges")
    elif data.get("edge_attr") is not None and data.edge_attr.dim() == 1:
        data.edge_attr = data.edge_attr[:, None]
    if source.shuffle_edges:
        if nodes < 2:
            raise InputError("data.shuffle_edges needs at least 2 nodes, and the data has one")
        # Another node in place of each neighbour; never the node itself.
        generator = torch.Generator().manual_seed(options.seed)
        shift = torch.randint(1, nodes, (data.edge_index.shape[1],), generator=generator)
        data.edge_index = torch.stack([(data.edge_index[1] + shift) % nodes, data.edge_index[1]])
    return data
