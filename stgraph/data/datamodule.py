"""A series, its split and its windows as a Lightning data module."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.selection import select_time
from stgraph.data.splits import (
    split_by_date,
    split_by_ratio,
    split_windows,
    train_val_split,
    window_starts,
)
from stgraph.data.windows import WindowLoader, check_starts
from stgraph.errors import InputError

__all__ = ["STAGES", "GraphToDevice", "SeriesDataModule"]

STAGES = ("train", "val", "test")

_NAMES = {"train": "training", "val": "validation", "test": "test"}

#: What differs from batch to batch; all else belongs to the graph, which all batches share.
WINDOWED = frozenset({"x", "y", "x_mask", "y_mask", "x_time", "y_time", "x_covariates", "y_covariates", "start"})


class GraphToDevice:
    """Move batches of windows to a device, the graph that they share only once.

    Examples:
        >>> move = GraphToDevice()
        >>> batch = Data(x=torch.zeros(1, 2, 3, 1), pos=torch.zeros(2, 2))
        >>> move(batch, torch.device("cpu")) is batch
        True
    """

    def __init__(self) -> None:
        self._moved: dict[tuple[str, torch.device], tuple[Tensor, Tensor]] = {}

    def __call__(self, batch: Data, device: torch.device | str) -> Data:
        """Return the batch on ``device``; the batch itself where it is there already."""
        device = torch.device(device)
        tensors = {name: value for name, value in batch.to_dict().items() if isinstance(value, Tensor)}
        if all(value.device == device for value in tensors.values()):
            return batch
        moved = copy.copy(batch)
        for name, value in tensors.items():
            moved[name] = value.to(device, non_blocking=True) if name in WINDOWED else self._shared(name, value, device)
        return moved

    def _shared(self, name: str, value: Tensor, device: torch.device) -> Tensor:
        source, target = self._moved.get((name, device), (None, None))
        if source is not value or target is None:
            target = value.to(device)
            # The source is kept too: as long as it lives, no other tensor can have its identity.
            self._moved[name, device] = (value, target)
        return target


class SeriesDataModule(LightningDataModule):
    """Training, validation and test windows of a series.

    The series is held once; a batch is gathered when it is asked for (:class:`~stgraph.data.WindowLoader`). On several
    processes each gets its share of every batch, so use Lightning's ``Trainer(use_distributed_sampler=False)``.

    Args:
        series: The series, or its training and validation period if ``test_series`` is given.
        test_series: The test period, where it is a series of its own.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        split: Shares of training, validation and test, ``(7, 1, 2)`` by default; of training and validation, ``(9, 1)``
            by default, with a ``test_series``.
        val_start: First date of the validation period, instead of shares.
        test_start: First date of the test period, instead of shares.
        windows: ``"split_first"`` keeps windows inside their period; ``"window_first"`` splits the list of all windows,
            so that the first windows of a period reach back into the one before.
        stride: Distance between the first steps of neighbouring windows.
        batch_size: Windows in a batch, over all processes together.
        seed: Seed of the order of the training windows.
        max_gap: Longest time from one step to the next inside a window (see :func:`~stgraph.data.window_starts`).
        period_break: Number of steps after which the series breaks, such as those of a service day.
        starts: First steps of the windows of ``"train"``, ``"val"`` and ``"test"``, instead of a split.
        input_mask: Whether batches have ``x_mask``; without it a model takes unobserved inputs for values of 0.
        loss_mask: Which values ``[N, T, C]`` count as targets in training and validation; the observed ones by default.
            A batch has one mask, so this needs ``input_mask=False``.

    Raises:
        InputError: If a period is too short for a window or has no observed target.

    Examples:
        >>> from stgraph.data import from_array
        >>> series = from_array(torch.randn(100, 3), coords=torch.rand(3, 2))
        >>> module = SeriesDataModule(series, input_steps=4, horizon=2, batch_size=8)
        >>> {stage: len(starts) for stage, starts in module.starts.items()}
        {'train': 65, 'val': 5, 'test': 15}
    """

    def __init__(
        self,
        series: Data,
        test_series: Data | None = None,
        *,
        input_steps: int,
        horizon: int,
        split: Sequence[float] | None = None,
        val_start: Any = None,
        test_start: Any = None,
        windows: Literal["split_first", "window_first"] = "split_first",
        stride: int = 1,
        batch_size: int = 32,
        seed: int = 0,
        max_gap: float | str | None = None,
        period_break: int | None = None,
        starts: Mapping[str, Tensor] | None = None,
        input_mask: bool = True,
        loss_mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.series, self.test_series = series, test_series
        self.input_mask, self._training = input_mask, _with_mask(series, loss_mask, input_mask)
        self.input_steps, self.horizon = input_steps, horizon
        self.batch_size, self.seed, self.stride = batch_size, seed, stride
        self._rules: dict[str, Any] = {"stride": stride, "max_gap": max_gap, "period_break": period_break}
        self._move = GraphToDevice()
        dates = (val_start, test_start)
        if starts is not None:
            if test_series is not None or split is not None or any(date is not None for date in dates):
                raise InputError("starts says which windows there are; leave out test_series, split and dates")
            self.starts = self._given(starts)
        elif windows == "window_first":
            if any(date is not None for date in dates):
                raise InputError("val_start and test_start need windows='split_first'; got windows='window_first'")
            self.starts = self._window_first(split)
        else:
            self.starts = self._split_first(split, *dates)
        self._check()

    def _given(self, starts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if sorted(starts) != sorted(STAGES):
            raise InputError(f"starts has {sorted(starts)}; expected {sorted(STAGES)}")
        last = self.series.x.shape[1] - self.input_steps - self.horizon
        return {stage: check_starts(starts[stage], last) for stage in STAGES}

    def _window_first(self, split: Sequence[float] | None) -> dict[str, Tensor]:
        if self.test_series is None:
            parts = split_windows(self._starts("training", self.series), _shares(split, 3, (7, 1, 2)))
            return dict(zip(STAGES, parts, strict=True))
        train, val = _shares(split, 2, (9, 1))
        starts = self._starts("training", self.series)
        count = round(len(starts) * train / (train + val))
        return {"train": starts[:count], "val": starts[count:], "test": self._starts("test", self.test_series)}

    def _split_first(self, split: Sequence[float] | None, val_start: Any, test_start: Any) -> dict[str, Tensor]:
        steps = self.series.x.shape[1]
        if self.test_series is not None:
            if val_start is not None or test_start is not None:
                raise InputError(
                    "val_start and test_start split one series; here the test period is a series of its own"
                )
            train, val = _shares(split, 2, (9, 1))
            periods = dict(zip(STAGES, train_val_split(steps, train / (train + val)), strict=False))
        elif val_start is None and test_start is None:
            periods = split_by_ratio(steps, _shares(split, 3, (7, 1, 2)))._asdict()
        elif val_start is None or test_start is None or split is not None:
            raise InputError("a split by date needs both val_start and test_start, and no shares")
        elif self.series.get("time") is None:
            raise InputError("val_start and test_start need a series with times; this one has none")
        else:
            periods = split_by_date(self.series.time, val_start, test_start)._asdict()
        starts = {stage: self._starts(_NAMES[stage], self.series, period) for stage, period in periods.items()}
        return starts if self.test_series is None else {**starts, "test": self._starts("test", self.test_series)}

    def _starts(self, name: str, series: Data, within: slice | None = None) -> Tensor:
        try:
            return window_starts(
                series.x.shape[1],
                self.input_steps,
                self.horizon,
                within=within,
                time=series.get("time"),
                **self._rules,
            )
        except InputError as error:
            raise InputError(f"{name} period: {error}") from error

    def _check(self) -> None:
        for stage in STAGES:
            series, starts = self._series_of(stage), self.starts[stage]
            if starts.numel() == 0:
                raise InputError(f"{_NAMES[stage]} period: no window is left for it")
            if not self._has_target(series, starts):
                raise InputError(f"{_NAMES[stage]} period: no target is observed")

    def _has_target(self, series: Data, starts: Tensor) -> bool:
        mask = series.get("mask")
        if mask is None:
            return True
        observed = mask.any(dim=-1).any(dim=0).nonzero().flatten()
        first = starts.unsqueeze(1) + self.input_steps
        place = torch.searchsorted(observed, first)
        reached = torch.cat([observed, observed.new_full((1,), series.x.shape[1] + 1)])[place]
        return bool((reached < first + self.horizon).any())

    def _series_of(self, stage: str) -> Data:
        if stage == "test":
            return self.series if self.test_series is None else self.test_series
        return self._training

    @property
    def train_series(self) -> Data:
        """The steps that training windows cover, for all that is fitted in closed form; nothing is copied."""
        end = int(self.starts["train"].max()) + self.input_steps + self.horizon
        return select_time(self.series, slice(0, end))

    def loader(self, stage: str, *, shuffle: bool = False, rank: int = 0, world_size: int = 1) -> WindowLoader:
        """Return the batches of ``"train"``, ``"val"`` or ``"test"`` windows."""
        return WindowLoader(
            self._series_of(stage),
            self.input_steps,
            self.horizon,
            starts=self.starts[stage],
            batch_size=self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            input_mask=self.input_mask,
        )

    def _shared_loader(self, stage: str, shuffle: bool = False) -> WindowLoader:
        trainer = self.trainer
        if trainer is None:
            return self.loader(stage, shuffle=shuffle)
        return self.loader(stage, shuffle=shuffle, rank=trainer.global_rank, world_size=trainer.world_size)

    def train_dataloader(self) -> WindowLoader:
        """Return the training batches of this process, in an order that changes with the epoch."""
        return self._shared_loader("train", shuffle=True)

    def val_dataloader(self) -> WindowLoader:
        """Return the validation batches of this process."""
        return self._shared_loader("val")

    def test_dataloader(self) -> WindowLoader:
        """Return the test batches of this process."""
        return self._shared_loader("test")

    def predict_dataloader(self) -> WindowLoader:
        """Return the test batches of this process."""
        return self._shared_loader("test")

    def transfer_batch_to_device(self, batch: Data, device: torch.device, dataloader_idx: int) -> Data:
        """Move a batch, the graph only once."""
        return self._move(batch, device)


def _with_mask(series: Data, mask: Tensor | None, input_mask: bool) -> Data:
    if mask is None:
        return series
    if input_mask:
        raise InputError("loss_mask is given with input_mask=True; a batch has one mask")
    if mask.shape != series.x.shape:
        raise InputError(f"loss_mask has shape {tuple(mask.shape)}; expected {tuple(series.x.shape)}")
    masked = copy.copy(series)
    masked.mask = mask
    return masked


def _shares(split: Sequence[float] | None, count: int, default: tuple[float, ...]) -> tuple[float, ...]:
    shares = default if split is None else tuple(split)
    if len(shares) != count or any(share <= 0 for share in shares):
        kind = "training and validation" if count == 2 else "training, validation and test"
        raise InputError(f"split is {list(shares)}; expected {count} positive shares, of {kind}")
    return shares
