from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from torch_geometric.data import Data

from stgraph.data.datamodule import GraphToDevice, SeriesDataModule
from stgraph.errors import InputError
from tests.tasks.stand_in import make_series

P, Q = 4, 2


def module(series=None, test=None, **arguments):
    return SeriesDataModule(make_series() if series is None else series, test, input_steps=P, horizon=Q, **arguments)


def spans(starts):
    return int(starts.min()), int(starts.max()) + P + Q


def test_windows_stay_inside_their_period_by_default():
    data = module()  # 120 steps: 84, 12, 24
    assert {stage: spans(starts) for stage, starts in data.starts.items()} == {
        "train": (0, 84),
        "val": (84, 96),
        "test": (96, 120),
    }
    assert [len(starts) for starts in data.starts.values()] == [79, 7, 19]


@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(60, 200),
    shares=st.tuples(*[st.integers(2, 6)] * 3),
    stride=st.integers(1, 3),
)
def test_periods_are_disjoint_and_in_order(steps, shares, stride):
    data = module(make_series(nodes=2, steps=steps), split=shares, stride=stride)
    train, val, test = (spans(data.starts[stage]) for stage in ("train", "val", "test"))
    assert train[1] <= val[0] < val[1] <= test[0] < test[1] <= steps
    for starts in data.starts.values():
        assert (starts.diff() == stride).all()


def test_window_first_uses_every_window():
    data = module(windows="window_first", split=(6, 2, 2))
    joined = torch.cat([data.starts[stage] for stage in ("train", "val", "test")])
    assert torch.equal(joined, torch.arange(120 - P - Q + 1))


@pytest.mark.parametrize("windows", ["split_first", "window_first"])
def test_a_test_series_of_its_own_is_used_whole(windows):
    test = make_series(steps=30, seed=1)
    data = module(None, test, windows=windows)
    assert torch.equal(data.starts["test"], torch.arange(30 - P - Q + 1))
    first, last = next(iter(data.loader("test"))), 30 - P - Q
    assert torch.equal(first.x[0], test.x[:, :P])
    assert spans(data.starts["train"])[1] == (108 if windows == "split_first" else 108 + 1)
    assert last > 0


def test_split_by_date():
    data = module(val_start="1970-01-04", test_start="1970-01-05")  # hourly series
    assert {stage: spans(starts) for stage, starts in data.starts.items()} == {
        "train": (0, 72),
        "val": (72, 96),
        "test": (96, 120),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": (1, 1)}, "split is .* expected 3 positive shares"),
        ({"split": (1, 0, 1)}, "split is .* expected 3 positive shares"),
        ({"split": (118, 1, 1)}, "validation period: .* needs 6"),
        ({"val_start": "1970-01-04"}, "both val_start and test_start"),
        ({"val_start": "1970-01-04", "test_start": "1970-01-05", "split": (7, 1, 2)}, "no shares"),
        ({"val_start": "1970-01-04", "windows": "window_first"}, "windows='split_first'"),
        ({"max_gap": "10min"}, "training period: no window"),
    ],
)
def test_bad_splits_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        module(**arguments)


def test_dates_need_times():
    with pytest.raises(InputError, match="series with times"):
        module(make_series(time=False), val_start="1970-01-04", test_start="1970-01-05")


def test_dates_do_not_go_with_a_test_series():
    with pytest.raises(InputError, match="a series of its own"):
        module(None, make_series(), val_start="1970-01-04", test_start="1970-01-05")


@pytest.mark.parametrize(("stage", "name"), [("train", "training"), ("val", "validation"), ("test", "test")])
def test_a_period_without_observed_targets_is_refused(stage, name):
    series = make_series(missing=0.1)
    first, last = spans(module(series).starts[stage])
    series.mask[:, first + P : last] = False  # inputs may be observed, targets are not
    with pytest.raises(InputError, match=f"{name} period: no target is observed"):
        module(series)
    series.mask[2, last - 1] = True
    assert module(series).starts[stage].numel()


def test_train_series_ends_with_the_last_training_window_and_shares_memory():
    data = module()
    assert data.train_series.x.shape[1] == 84
    assert data.train_series.x.data_ptr() == data.series.x.data_ptr()


def test_processes_share_out_every_batch():
    data = module(batch_size=8)
    whole = list(data.loader("train", shuffle=True))
    parts = [list(data.loader("train", shuffle=True, rank=rank, world_size=3)) for rank in range(3)]
    for i, batch in enumerate(whole):
        starts = torch.cat([part[i].start for part in parts])
        assert torch.equal(starts.sort().values, batch.start.sort().values)


def test_the_graph_moves_to_the_device_once():
    data, move = module(batch_size=8), GraphToDevice()
    first, second = (move(batch, "meta") for batch in list(data.loader("val"))[:1] * 2)
    assert first.x.device.type == first.pos.device.type == "meta"
    assert first.pos is second.pos
    assert first.edge_index is second.edge_index
    assert first.x is not second.x
    other = module(make_series(seed=2), batch_size=8)
    assert move(next(iter(other.loader("val"))), "meta").pos is not first.pos


def test_a_batch_that_is_there_already_is_not_copied():
    batch = next(iter(module().loader("val")))
    assert GraphToDevice()(batch, torch.device("cpu")) is batch
    assert module().transfer_batch_to_device(batch, torch.device("cpu"), 0) is batch


def test_moving_leaves_the_batch_as_it_was():
    batch = next(iter(module().loader("val")))
    GraphToDevice()(batch, "meta")
    assert batch.x.device.type == batch.pos.device.type == "cpu"


class Recorder(LightningModule):
    def __init__(self):
        super().__init__()
        self.seen = []

    def test_step(self, batch: Data, batch_idx: int) -> None:
        self.seen.append(batch.start)


def test_it_works_with_any_lightning_module():
    data, recorder = module(batch_size=8), Recorder()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with warnings.catch_warnings():
        # Lightning 2.6 uses a class of torch that has been renamed since.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        trainer.test(recorder, datamodule=data, verbose=False)
    assert torch.equal(torch.cat(recorder.seen), data.starts["test"])
