from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch_geometric.data import Batch, Data

from stgraph.data.splits import window_starts
from stgraph.data.windows import WindowBatch, WindowLoader
from stgraph.errors import InputError, InputTypeError

N, STEPS, C, P, Q = 5, 40, 2, 4, 3


def series(layout: str = "node_first", **attributes: Any) -> Data:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, STEPS, C, generator=generator)
    if layout == "time_first":
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    elif layout == "channel_first":
        x = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    edge_index = torch.tensor([[1, 2, 3, 4, 0, 2], [0, 1, 2, 3, 4, 4]])
    pos = torch.randn(N, 2, generator=generator)
    return Data(x=x, pos=pos, edge_index=edge_index, edge_attr=torch.randn(6, 3, generator=generator), **attributes)


def full_series(per_node_time: bool = False) -> Data:
    generator = torch.Generator().manual_seed(1)
    time = torch.arange(STEPS) * 10**9
    return series(
        mask=torch.rand(N, STEPS, C, generator=generator) < 0.7,
        time=torch.stack([time + i for i in range(N)]) if per_node_time else time,
        covariates=torch.randn(STEPS, 3, generator=generator),
        static=torch.randn(N, 2, generator=generator),
        edge_weight=torch.rand(6, generator=generator),
        grid=(5, 1),
        node_names=list("abcde"),
        level=0.5,
        factor=torch.tensor(3.0),
    )


def order_of(loader: WindowLoader) -> list[int]:
    return [start for batch in loader for start in batch.start.tolist()]


# What a batch holds


@pytest.mark.parametrize("layout", ["node_first", "time_first", "channel_first"])
@pytest.mark.parametrize("per_node_time", [False, True])
def test_windows_are_slices_of_the_series(layout: str, per_node_time: bool) -> None:
    data = full_series(per_node_time)
    data.x = series(layout).x
    seen = 0
    for batch in WindowLoader(data, P, Q, batch_size=6, shuffle=True):
        assert batch.x.shape == (batch.num_windows, N, P, C)
        assert batch.y.shape == (batch.num_windows, N, Q, C)
        assert batch.num_nodes == N
        for i, s in enumerate(batch.start.tolist()):
            past, future = slice(s, s + P), slice(s + P, s + P + Q)
            assert torch.equal(batch.x[i], data.x[:, past])
            assert torch.equal(batch.y[i], data.x[:, future])
            assert torch.equal(batch.x_mask[i], data.mask[:, past])
            assert torch.equal(batch.y_mask[i], data.mask[:, future])
            assert torch.equal(batch.x_time[i], data.time[..., past])
            assert torch.equal(batch.y_time[i], data.time[..., future])
            assert torch.equal(batch.x_covariates[i], data.covariates[past])
            assert torch.equal(batch.y_covariates[i], data.covariates[future])
            seen += 1
    assert seen == STEPS - P - Q + 1


def test_absent_parts_stay_absent() -> None:
    batch = next(iter(WindowLoader(series(), P, Q)))
    assert sorted(batch.keys()) == ["edge_attr", "edge_index", "pos", "start", "x", "y"]


def test_the_graph_is_shared_and_not_copied() -> None:
    data = full_series()
    first, second = list(WindowLoader(data, P, Q, batch_size=20))
    for key in ("pos", "edge_index", "edge_attr", "edge_weight", "static", "grid", "node_names"):
        assert first[key] is data[key]
        assert second[key] is data[key]
    assert "time" not in first
    assert "mask" not in first
    assert "covariates" not in first


def test_batches_do_not_share_values() -> None:
    data = series()
    first, second = list(WindowLoader(data, P, Q, batch_size=20))
    before = data.x.clone(), second.x.clone()
    first.x.zero_()
    first.y.zero_()
    first.pos = torch.zeros(N, 2)
    assert torch.equal(data.x, before[0])
    assert torch.equal(second.x, before[1])
    assert second.pos is data.pos


def test_batch_is_an_ordinary_data_object() -> None:
    batch = next(iter(WindowLoader(full_series(), P, Q, batch_size=N)))  # as many windows as nodes: easy to mix up
    assert batch.is_node_attr("x")
    assert batch.is_node_attr("y_mask")
    assert not batch.is_node_attr("start")
    assert not batch.is_node_attr("x_time")
    part = batch.subgraph(torch.tensor([1, 2]))
    assert part.x.shape == (N, 2, P, C)
    assert part.y_mask.shape == (N, 2, Q, C)
    assert part.x_time.shape == (N, P)
    assert part.pos.shape == (2, 2)
    again = pickle.loads(pickle.dumps(batch))
    assert isinstance(again, WindowBatch)
    assert torch.equal(again.x, batch.x)
    assert torch.equal(copy.deepcopy(batch).y, batch.y)
    assert batch.to(torch.device("cpu")).x.shape == batch.x.shape


# Conversion to a flat PyG batch


def as_list(batch: WindowBatch) -> list[Data]:
    """One ordinary graph per window, written as a loop."""
    graphs = []
    for i in range(batch.num_windows):
        window = Data()
        for key, value in batch.to_dict().items():
            if key in ("x", "y", "x_mask", "y_mask") or (key in ("x_time", "y_time") and value.dim() == 3):
                window[key] = value[i]
            elif key in ("x_time", "y_time", "x_covariates", "y_covariates"):
                window[key] = value[i : i + 1]
            elif key == "start":
                window[key] = value[i]
            else:
                window[key] = value
        graphs.append(window)
    return graphs


@pytest.mark.parametrize("per_node_time", [False, True])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_to_pyg_equals_a_loop_over_windows(per_node_time: bool, batch_size: int) -> None:
    batch = next(iter(WindowLoader(full_series(per_node_time), P, Q, batch_size=batch_size, shuffle=True)))
    ours, theirs = batch.to_pyg(), Batch.from_data_list(as_list(batch))
    assert sorted(ours.keys()) == sorted(theirs.keys())
    for key in theirs.keys():  # noqa: SIM118 - not a dictionary
        if isinstance(theirs[key], Tensor):
            torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0, msg=key)
        else:
            assert ours[key] == theirs[key]
    assert ours.num_graphs == theirs.num_graphs == batch_size
    for a, b in zip(ours.to_data_list(), theirs.to_data_list(), strict=True):
        assert torch.equal(a.edge_index, b.edge_index)
        assert torch.equal(a.x, b.x)
        assert a.grid == b.grid


def test_to_pyg_of_no_windows_and_of_sparse_attributes() -> None:
    empty = next(iter(WindowLoader(series(), P, Q, batch_size=1, rank=1, world_size=2))).to_pyg()
    assert empty.x.shape == (0, P, C)
    assert empty.edge_index.shape == (2, 0)
    assert empty.ptr.tolist() == [0]
    data = series(adj=torch.eye(N).to_sparse_coo())
    with pytest.raises(InputTypeError, match="'adj'"):
        next(iter(WindowLoader(data, P, Q))).to_pyg()


# Order, epochs and processes


@settings(max_examples=40, deadline=None)
@given(
    steps=st.integers(P + Q, 60),
    batch_size=st.integers(1, 20),
    world_size=st.integers(1, 4),
    shuffle=st.booleans(),
    stride=st.integers(1, 3),
)
def test_processes_share_each_global_batch(
    steps: int, batch_size: int, world_size: int, shuffle: bool, stride: int
) -> None:
    data = Data(x=torch.arange(float(steps)).view(1, steps, 1))
    starts = window_starts(steps, P, Q, stride=stride)
    options: dict[str, Any] = {"starts": starts, "batch_size": batch_size, "shuffle": shuffle, "seed": 3}
    whole = WindowLoader(data, P, Q, **options)
    ranks = [WindowLoader(data, P, Q, rank=r, world_size=world_size, **options) for r in range(world_size)]
    assert {len(loader) for loader in ranks} == {len(whole)}
    assert {loader.num_windows for loader in ranks} == {len(starts)}
    batches = list(whole)
    assert len(batches) == len(whole)
    assert [b.num_windows for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert sorted(s for b in batches for s in b.start.tolist()) == starts.tolist()
    for batch, *parts in zip(batches, *ranks, strict=True):
        for rank, part in enumerate(parts):
            assert torch.equal(part.start, batch.start[rank::world_size])
            assert part.x.shape == (len(part.start), 1, P, 1)


def test_shuffling_depends_on_seed_and_epoch_alone() -> None:
    data = series()
    loader = WindowLoader(data, P, Q, batch_size=8, shuffle=True, seed=5)
    first, second = order_of(loader), order_of(loader)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(STEPS - P - Q + 1))
    torch.manual_seed(123)
    again = WindowLoader(data, P, Q, batch_size=3, shuffle=True, seed=5)
    assert order_of(again) == first, "whatever the batch size and the global generator"
    assert order_of(again) == second
    assert order_of(WindowLoader(data, P, Q, shuffle=True, seed=6)) != first
    again.set_epoch(0)
    assert order_of(again) == first
    assert order_of(WindowLoader(data, P, Q)) == sorted(first)


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    order_of(WindowLoader(series(), P, Q, shuffle=True))
    assert torch.equal(torch.rand(3), expected)


def test_an_abandoned_pass_is_an_epoch() -> None:
    loader = WindowLoader(series(), P, Q, batch_size=8, shuffle=True)
    expected = [order_of(WindowLoader(series(), P, Q, shuffle=True)), None]
    other = WindowLoader(series(), P, Q, shuffle=True)
    other.set_epoch(1)
    expected[1] = order_of(other)
    assert next(iter(loader)).start.tolist() == expected[0][:8]
    assert order_of(loader) == expected[1]


def test_an_iterator_that_is_not_used_changes_nothing() -> None:
    loader = WindowLoader(series(), P, Q, shuffle=True)
    iter(loader)
    assert order_of(loader) == order_of(WindowLoader(series(), P, Q, shuffle=True))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stop", [0, 1, 4, 9])
def test_resume_continues_after_the_last_batch(shuffle: bool, stop: int) -> None:
    def make() -> WindowLoader:
        return WindowLoader(series(), P, Q, batch_size=4, shuffle=shuffle, seed=2)

    reference = make()
    expected = [[b.start.tolist() for b in reference] for _ in range(4)]
    loader = make()
    order_of(loader)  # epoch 0
    iterator = iter(loader)
    for _ in range(stop):
        next(iterator)
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    resumed = make()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == loader.state_dict() or stop in (0, len(reference))
    rest = [b.start.tolist() for b in resumed]
    if stop == len(reference):  # the epoch was complete: the next one follows
        assert rest == expected[2]
    else:
        assert rest == expected[1][stop:]
        assert [b.start.tolist() for b in resumed] == expected[2]
    assert [b.start.tolist() for b in resumed] == expected[3]


def test_a_state_may_be_loaded_between_iter_and_next() -> None:
    loader = WindowLoader(series(), P, Q, batch_size=4)
    iterator = iter(loader)
    loader.load_state_dict({**loader.state_dict(), "position": 2})
    assert next(iterator).start.tolist() == [8, 9, 10, 11]


def test_set_epoch_after_a_state_of_that_epoch_keeps_the_position() -> None:
    loader = WindowLoader(series(), P, Q, batch_size=4)
    loader.load_state_dict({**loader.state_dict(), "epoch": 3, "position": 2})
    loader.set_epoch(3)
    assert next(iter(loader)).start.tolist() == [8, 9, 10, 11]
    loader.set_epoch(3)
    assert next(iter(loader)).start.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("change", [{"batch_size": 5}, {"seed": 1}, {"shuffle": True}, {"starts": torch.arange(30)}])
def test_a_state_within_an_epoch_must_fit(change: dict[str, Any]) -> None:
    loader = WindowLoader(series(), P, Q, batch_size=4)
    next(iter(loader))
    other = WindowLoader(series(), P, Q, **{"batch_size": 4, **change})
    with pytest.raises(InputError, match="saved within an epoch"):
        other.load_state_dict(loader.state_dict())
    order_of(loader)
    other.load_state_dict(loader.state_dict())  # between epochs anything goes
    assert other.state_dict()["epoch"] == 2


class Recorder(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        self.seen.append(batch.start.tolist())
        return self.weight * batch.x.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, resume: Path | None = None) -> list[list[int]]:
    save = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = pl.Trainer(
        max_steps=12, accelerator="cpu", logger=False, callbacks=[save], enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    module = Recorder()
    trainer.fit(module, WindowLoader(series(), P, Q, batch_size=8, shuffle=True), ckpt_path=resume)
    return module.seen


# Lightning warns that the checkpoints lie elsewhere, and of its own use of PyTorch.
@pytest.mark.filterwarnings("ignore:.*(LeafSpec|treespec|The dirpath has changed).*")
def test_lightning_resumes_at_every_step(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole")
    assert [len(starts) for starts in whole[:6]] == [8, 8, 8, 8, 2, 8], "12 steps are 2 epochs and 2 steps"
    for step in (1, 3, 5, 6, 10, 11):
        assert fit(tmp_path / str(step), tmp_path / "whole" / f"step={step}.ckpt") == whole[step:], step


# Memory


MEMORY_TEST = """
    import resource, sys, warnings
    import numpy as np, torch
    from torch_geometric.data import Data
    from stgraph.data.windows import WindowLoader

    steps, nodes = 200_000, 100  # 80 MB; all windows would be 1.9 GB
    values = np.memmap(sys.argv[1], np.float32, mode="w+", shape=(steps, nodes, 1) if sys.argv[2] == "time" else (nodes, steps, 1))
    x = torch.from_numpy(values)
    data = Data(x=x.transpose(0, 1) if sys.argv[2] == "time" else x)
    loader = WindowLoader(data, 12, 12, batch_size=8, shuffle=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for position, batch in enumerate(loader):
        if position == 20:
            break
    assert batch.x.untyped_storage().nbytes() <= 8 * 24 * nodes * 4
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("layout", ["time", "node"])
def test_a_memory_map_is_not_read_into_memory(tmp_path: Path, layout: str) -> None:
    code = textwrap.dedent(MEMORY_TEST)
    command = [sys.executable, "-c", code, str(tmp_path / "series.dat"), layout]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Touched pages of the map count as resident: a few windows of a node-first map touch many pages, the map's 80 MB not.
    assert int(done.stdout) < 60_000, "kilobytes"


# Input that cannot be used


@pytest.mark.parametrize(
    ("data", "kwargs", "error", "message"),
    [
        (Data(num_nodes=3), {}, InputTypeError, "data.x is a NoneType"),
        (Data(x=np.zeros((3, 40, 1))), {}, InputTypeError, "data.x is a ndarray"),
        (Data(x=torch.zeros(3, 40)), {}, InputError, r"data.x has shape \(3, 40\)"),
        (Data(x=torch.zeros(3, 6, 1)), {}, InputError, "there are 6 steps.*needs 7"),
        (Data(x=torch.zeros(3, 0, 1)), {}, InputError, "there are 0 steps"),
        (series(mask=torch.ones(N, STEPS, dtype=torch.bool)), {}, InputError, "data.mask has shape"),
        (series(time=torch.arange(STEPS + 1)), {}, InputError, "data.time has shape"),
        (series(covariates=torch.zeros(STEPS - 1, 2)), {}, InputError, "data.covariates has shape"),
        (series(y=torch.zeros(N)), {}, InputError, "attribute 'y'"),
        (series(), {"input_steps": 0}, InputError, "input_steps is 0"),
        (series(), {"horizon": 0}, InputError, "horizon is 0"),
        (series(), {"batch_size": 0}, InputError, "batch_size is 0"),
        (series(), {"rank": 2, "world_size": 2}, InputError, "rank is 2"),
        (series(), {"rank": -1}, InputError, "rank is -1"),
        (series(), {"world_size": 0}, InputError, "world_size is 0"),
        (series(), {"starts": torch.tensor([0, 34])}, InputError, "between 0 and 34.*between 0 and 33"),
        (series(), {"starts": torch.tensor([-1])}, InputError, "between -1 and -1"),
        (series(), {"starts": torch.empty(0, dtype=torch.int64)}, InputError, "at least one"),
        (series(), {"starts": torch.tensor([0.5])}, InputError, "float32"),
        (series(), {"starts": torch.tensor([[0]])}, InputError, r"shape \(1, 1\)"),
    ],
)
def test_bad_input_is_named(data: Data, kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        WindowLoader(data, **{"input_steps": P, "horizon": Q, **kwargs})


def test_a_series_of_one_window() -> None:
    loader = WindowLoader(Data(x=torch.arange(7.0).view(1, 7, 1)), P, Q)
    (batch,) = list(loader)
    assert batch.x.flatten().tolist() == [0, 1, 2, 3]
    assert batch.y.flatten().tolist() == [4, 5, 6]
    assert repr(loader) == "WindowLoader(1 windows, batch_size=32, shuffle=False)"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int32])
def test_the_type_of_the_values_is_kept(dtype: torch.dtype) -> None:
    batch = next(iter(WindowLoader(Data(x=series().x.mul(10).to(dtype)), P, Q)))
    assert batch.x.dtype == batch.y.dtype == dtype
