"""Loaders that go on with the next batch after an interruption."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError

__all__ = ["ResumableLoader"]

B = TypeVar("B", bound=Data)


class ResumableLoader(Generic[B]):
    """Base class of loaders whose epochs depend on a seed and the number of the epoch alone.

    Each pass is an epoch. The state of a loader says where it stands, so that an interrupted epoch goes on with the
    next batch (Lightning does so by itself). Every sample appears once in an epoch; the last batch may be smaller. On
    several processes each gets every ``world_size``-th sample of each batch, which may be none.

    Args:
        batch_size: Number of samples in a batch, over all processes.
        shuffle: Whether to shuffle the samples in each epoch.
        seed: Seed of the shuffling.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(self, batch_size: int, shuffle: bool, seed: int, rank: int, world_size: int) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; expected at least 1")
        if world_size < 1 or not 0 <= rank < world_size:
            raise InputError(f"rank is {rank} and world_size is {world_size}; expected 0 <= rank < world_size")
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self._epoch = 0
        self._position = 0  # batches of this epoch already yielded
        self._continue = True  # whether the next pass goes on from there or begins another epoch

    @property
    def num_samples(self) -> int:
        """The number of samples in an epoch, over all processes."""
        raise NotImplementedError

    def _order(self, epoch: int) -> Tensor:
        """Return the samples of an epoch in their order; the first dimension counts them."""
        raise NotImplementedError

    def _gather(self, samples: Tensor) -> B:
        """Return a batch of samples."""
        raise NotImplementedError

    def __len__(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def __iter__(self) -> Iterator[B]:
        # A generator: nothing happens before the first batch is asked for, so that a state loaded between iter() and
        # next(), or an iterator that is made and dropped, does no harm.
        if not self._continue:
            self._epoch, self._position = self._epoch + 1, 0
        self._continue = False
        batches = self._order(self._epoch).split(self.batch_size)
        for position in range(self._position, len(batches)):
            batch = self._gather(batches[position][self.rank :: self.world_size])
            self._position = position + 1
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass epoch number ``epoch``, from its start unless a state of that epoch was just loaded."""
        if not (self._continue and epoch == self._epoch):
            self._epoch, self._position = epoch, 0
        self._continue = True

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands: the epoch, and the number of its batches yielded so far."""
        return {
            "epoch": self._epoch,
            "position": self._position,
            "num_samples": self.num_samples,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where another loader stood; after a complete epoch, with the next one.

        Raises:
            InputError: If the state stands within an epoch that this loader would cut into other batches.
        """
        epoch, position = int(state_dict["epoch"]), int(state_dict["position"])
        total = -(-int(state_dict["num_samples"]) // int(state_dict["batch_size"]))
        if position >= total:
            epoch, position = epoch + 1, 0
        if position:
            own = self.state_dict()
            for key in ("num_samples", "batch_size", "shuffle", "seed"):
                if state_dict[key] != own[key]:
                    raise InputError(
                        f"the state was saved within an epoch with {key} = {state_dict[key]}; "
                        f"this loader has {own[key]}"
                    )
        self._epoch, self._position, self._continue = epoch, position, True
