"""Batches of masked series: coverage, order, what is hidden, neighbours against a loop, resuming."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.masking import Masking
from stgraph.data.series_loader import SeriesLoader
from stgraph.errors import InputError

NODES, STEPS, CHANNELS = 6, 40, 2
LENGTHS = torch.tensor([40, 7, 23, 10, 0, 31])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def network() -> Data:
    """Series with shared times, gaps and edges; node 5 has no neighbour, and node 0 two edges from node 1."""
    edges = torch.tensor([[1, 2, 3, 1, 5, 0, 4, 2], [0, 0, 2, 0, 4, 1, 3, 4]])
    return Data(
        x=random(NODES, STEPS, CHANNELS),
        mask=random(NODES, STEPS, CHANNELS, seed=1) < 0.8,
        edge_index=edges,
        edge_attr=random(edges.shape[1], 3, seed=2),
        time=torch.arange(STEPS, dtype=torch.float64) * 0.5 + 2454833,
    )


def curves() -> Data:
    """Series of different lengths with times of their own; node 4 has no point at all."""
    real = torch.arange(STEPS) < LENGTHS[:, None]
    return Data(
        x=random(NODES, STEPS, 1) * real[..., None],
        mask=(random(NODES, STEPS, 1, seed=1) < 0.8) & real[..., None],
        time=2454833 + random(NODES, STEPS, seed=3).double().cumsum(1),
        flux_error=random(NODES, STEPS, 1, seed=4),
        length=LENGTHS,
        static=random(NODES, 3, seed=5),
        spectra=random(NODES, 8, 2, seed=6),
    )


def places(loader: SeriesLoader) -> list[tuple[int, int]]:
    return [
        pair
        for batch in loader
        for pair in zip(batch.node[: batch.batch_size].tolist(), batch.start[: batch.batch_size].tolist(), strict=True)
    ]


def hidden_at(*batches: Data) -> dict[tuple[int, int], Tensor]:
    """What is hidden in each row, neighbours included."""
    rows = (row for b in batches for row in zip(b.node.tolist(), b.start.tolist(), b.hidden, strict=True))
    return {(node, start): hidden for node, start, hidden in rows}


def equal(first: Data, second: Data) -> bool:
    def same(a: Any, b: Any) -> bool:
        return torch.equal(a, b) if isinstance(a, Tensor) else a == b

    return set(first.keys()) == set(second.keys()) and all(same(first[k], second[k]) for k in first.keys())  # noqa: SIM118


@pytest.mark.parametrize(("steps", "stride"), [(8, None), (8, 3), (40, None), (100, None), (7, 7)])
def test_stretches_cover_every_series(steps, stride):
    data = curves()
    loader = SeriesLoader(data, steps=steps, stride=stride, batch_size=4)
    width, step = min(steps, STEPS), stride or steps
    expected = []
    for node, length in enumerate(LENGTHS.tolist()):
        last = max(length - width, 0)
        expected += [(node, start) for start in (*range(0, last, step), last)]
    assert places(loader) == expected
    assert loader.num_samples == len(expected)
    assert len(loader) == -(-len(expected) // 4)
    covered = torch.zeros(NODES, STEPS, dtype=torch.bool)
    for node, start in expected:
        covered[node, start : start + width] = True
    real = torch.arange(STEPS) < LENGTHS[:, None]
    assert covered[real].all()


def test_rows_are_what_the_graph_has():
    data = curves()
    for batch in SeriesLoader(data, steps=8, batch_size=5):
        for i, (node, start) in enumerate(zip(batch.node.tolist(), batch.start.tolist(), strict=True)):
            window = slice(start, start + 8)
            assert torch.equal(batch.x[i], data.x[node, window])
            assert torch.equal(batch.mask[i], data.mask[node, window])
            assert torch.equal(batch.error[i], data.flux_error[node, window])
            assert torch.equal(batch.time[i], data.time[node, window] - data.time[node, 0])
            assert torch.equal(batch.padding[i], torch.arange(start, start + 8) >= LENGTHS[node])
            assert torch.equal(batch.static[i], data.static[node])
            assert torch.equal(batch.spectra[i], data.spectra[node])
        assert not batch.hidden.any()
        assert not batch.block_size.any()


def test_padding_is_not_observed_whatever_the_mask_says():
    real = torch.arange(STEPS) < LENGTHS[:, None]
    for data in (Data(x=random(NODES, STEPS, 1), length=LENGTHS), curves()):
        if data.get("mask") is not None:
            data.mask = torch.ones_like(data.mask)
        loader = SeriesLoader(data, masking=Masking(), batch_size=9)
        (batch,) = loader
        assert batch.node.tolist() == [0, 1, 2, 3, 5]  # node 4 has nothing to reconstruct
        assert torch.equal(batch.mask[..., 0], real[batch.node])
        assert not batch.hidden[batch.padding].any()


def test_stretches_without_an_observed_point_are_left_out():
    data = network()
    data.mask[2, 8:16] = False
    data.mask[5] = False
    every = [(node, start) for node in range(NODES) for start in range(0, STEPS, 8)]
    kept = [(n, s) for n, s in every if n != 5 and (n, s) != (2, 8)]
    assert places(SeriesLoader(data, steps=8, masking=Masking())) == kept
    # Where nothing is hidden, all are wanted: gaps are to be filled.
    assert places(SeriesLoader(data, steps=8)) == every
    data.mask[2, 4:] = False  # most places in this series hold nothing
    fixed, random = (SeriesLoader(data, steps=8, masking=Masking(), random=random) for random in (False, True))
    drawn = [place for _ in range(20) for place in places(random)]
    assert len(drawn) == 20 * fixed.num_samples
    assert all(data.mask[n, s : s + 8].any() for n, s in drawn)


def test_observed_points_are_counted_beyond_small_integers():
    mask = torch.zeros(1, 70_000, 1, dtype=torch.bool)
    mask[:, :256] = True  # would be 0 in eight bits
    mask[:, 256 : 2**16] = True  # and this in sixteen
    loader = SeriesLoader(Data(x=torch.zeros(1, 70_000, 1), mask=mask), steps=2**15, masking=Masking())
    assert places(loader) == [(0, 0), (0, 2**15), (0, 70_000 - 2**15)]


def test_random_stretches_lie_within_the_series():
    loader = SeriesLoader(curves(), steps=8, masking=Masking(), random=True, batch_size=50)
    seen: dict[int, set[int]] = {}
    for _ in range(30):
        for node, start in places(loader):
            seen.setdefault(node, set()).add(start)
    for node, length in enumerate(LENGTHS.tolist()):
        if length:
            starts = seen[node]
            assert min(starts) == 0
            assert max(starts) == max(length - 8, 0)
    assert len(seen[0]) > 25


def test_only_observed_points_are_hidden():
    loader = SeriesLoader(curves(), steps=16, masking=Masking(2, 4, 0.3, 0.6), batch_size=50)
    (batch,) = loader
    assert batch.hidden.any()
    assert not (batch.hidden & ~batch.mask).any()
    assert set(batch.block_size.tolist()) <= {2, 4}
    assert ((batch.mask_ratio > 0) & (batch.mask_ratio < 1)).all()


def test_all_channels_of_a_step_are_hidden_together():
    (batch,) = SeriesLoader(network(), steps=16, masking=Masking(), batch_size=50)
    both = batch.mask.all(dim=-1)
    assert torch.equal(batch.hidden[..., 0][both], batch.hidden[..., 1][both])


def test_largest_block_is_a_quarter_by_default():
    data = Data(x=torch.zeros(60, 32, 1))
    (batch,) = SeriesLoader(data, masking=Masking(), batch_size=60)
    assert set(batch.block_size.tolist()) == {1, 2, 4, 8}
    (batch,) = SeriesLoader(data, masking=Masking(min_block_size=16), batch_size=60)
    assert set(batch.block_size.tolist()) == {16}


def test_masks_do_not_depend_on_batches_order_or_processes():
    options: dict[str, Any] = {"steps": 8, "masking": Masking(), "seed": 3}
    expected = hidden_at(*SeriesLoader(network(), batch_size=100, **options))
    for other in (
        {"batch_size": 3},
        {"batch_size": 7, "shuffle": True},
        {"batch_size": 4, "rank": 1, "world_size": 3},
        {"batch_size": 2, "nodes": torch.tensor([4, 1])},
        {"batch_size": 5, "neighbors": True},
    ):
        found = hidden_at(*SeriesLoader(network(), **options, **other))
        assert all(torch.equal(hidden, expected[place]) for place, hidden in found.items())
    other = hidden_at(*SeriesLoader(network(), batch_size=100, **{**options, "seed": 4}))
    assert not all(torch.equal(hidden, expected[place]) for place, hidden in other.items())


@pytest.mark.parametrize("world_size", [2, 5])
def test_all_processes_together_are_one(world_size):
    options: dict[str, Any] = {
        "steps": 8, "masking": Masking(), "batch_size": 4, "shuffle": True, "random": True, "neighbors": True,
    }  # fmt: skip
    whole = SeriesLoader(network(), **options)
    shares = [SeriesLoader(network(), **options, rank=r, world_size=world_size) for r in range(world_size)]
    assert len(whole) == len(shares[0])
    for batch, *parts in zip(whole, *shares, strict=True):
        for rank, part in enumerate(parts):
            own = slice(rank, batch.batch_size, world_size)
            assert part.batch_size == len(range(batch.batch_size)[own])
            for name in ("node", "start", "x", "mask", "hidden", "time"):
                assert torch.equal(part[name][: part.batch_size], batch[name][: batch.batch_size][own])


def test_fixed_masks_stay_and_random_ones_change():
    options: dict[str, Any] = {"masking": Masking(), "batch_size": 100}
    fixed, drawn = (SeriesLoader(network(), **options, random=random) for random in (False, True))
    first, second = next(iter(fixed)), next(iter(fixed))
    assert equal(first, second)
    first, second = next(iter(drawn)), next(iter(drawn))
    assert torch.equal(first.x, second.x)
    assert not torch.equal(first.hidden, second.hidden)


def test_each_epoch_has_every_sample_once_in_another_order():
    loader = SeriesLoader(network(), steps=8, batch_size=7, shuffle=True, masking=Masking())
    first, second = places(loader), places(loader)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(places(SeriesLoader(network(), steps=8)))


@pytest.mark.parametrize("done", [0, 3, 8, 10])
def test_resuming_gives_the_same_batches(done):
    def make() -> SeriesLoader:
        return SeriesLoader(
            network(), steps=8, batch_size=4, shuffle=True, random=True, masking=Masking(), neighbors=True
        )

    loader = make()
    assert len(loader) == 8
    passes = itertools.chain.from_iterable(itertools.repeat(loader, 3))
    for _ in range(done):
        next(passes)
    state = loader.state_dict()
    expected = list(itertools.islice(passes, 16 - done))
    other = make()
    other.load_state_dict(state)
    if done < 8:
        other.set_epoch(0)  # as Lightning's start of an epoch does
    found = list(itertools.islice(itertools.chain.from_iterable(itertools.repeat(other, 3)), 16 - done))
    assert all(equal(a, b) for a, b in zip(expected, found, strict=True))


def test_an_epoch_can_be_chosen():
    loader, other = (
        SeriesLoader(network(), steps=8, batch_size=4, shuffle=True, random=True, masking=Masking()) for _ in range(2)
    )
    list(loader)
    second = list(loader)
    other.set_epoch(1)
    assert all(equal(a, b) for a, b in zip(second, other, strict=True))


def test_a_state_of_other_batches_is_refused_within_an_epoch():
    loader = SeriesLoader(network(), steps=8, batch_size=4)
    next(iter(loader))
    other = SeriesLoader(network(), steps=8, batch_size=5)
    with pytest.raises(InputError, match="batch_size = 4; this loader has 5"):
        other.load_state_dict(loader.state_dict())


def test_given_entries_are_hidden():
    data = network()
    hidden = random(NODES, STEPS, CHANNELS, seed=9) < 0.1
    hidden[3] = False
    hidden[1] = ~data.mask[1]  # hidden, but never observed: nothing to reconstruct
    loader = SeriesLoader(data, steps=8, hidden=hidden, batch_size=100, neighbors=True)
    (batch,) = loader
    for i, (node, start) in enumerate(zip(batch.node.tolist(), batch.start.tolist(), strict=True)):
        window = slice(start, start + 8)
        assert torch.equal(batch.hidden[i], (hidden & data.mask)[node, window])
        if i < batch.batch_size:
            assert batch.hidden[i].any()
    assert not {1, 3} & set(batch.node[: batch.batch_size].tolist())
    assert {1, 3} <= set(batch.node.tolist())


@pytest.mark.parametrize("chosen", [None, [4, 0]])
def test_neighbours_against_a_loop(chosen):
    data = network()
    alone = hidden_at(*SeriesLoader(data, steps=8, masking=Masking()))
    nodes = None if chosen is None else torch.tensor(chosen)
    loader = SeriesLoader(data, steps=8, nodes=nodes, masking=Masking(), neighbors=True, batch_size=4, shuffle=True)
    for batch in loader:
        count = batch.batch_size
        expected = []
        for i in range(count):
            node, start = int(batch.node[i]), int(batch.start[i])
            assert chosen is None or node in chosen
            entering = [(edge, int(data.edge_index[0, edge])) for edge in range(8) if data.edge_index[1, edge] == node]
            expected += [(i, source, start, edge) for edge, source in entering]
        assert batch.edge_index[0].tolist() == list(range(count, count + len(expected)))
        assert len(batch.node) == len(batch.x) == count + len(expected)
        for row, (target, source, start, edge) in enumerate(expected, start=count):
            assert batch.edge_index[1, row - count] == target
            assert (batch.node[row], batch.start[row]) == (source, start)
            assert torch.equal(batch.x[row], data.x[source, start : start + 8])
            assert torch.equal(batch.mask[row], data.mask[source, start : start + 8])
            assert torch.equal(batch.hidden[row], alone[source, start])
            assert torch.equal(batch.edge_attr[row - count], data.edge_attr[edge])
        assert len(batch.block_size) == len(batch.mask_ratio) == count


def test_times_in_days():
    data = network()
    (days,) = SeriesLoader(data, steps=8, nodes=torch.tensor([0]))
    data.time = torch.arange(STEPS) * 43_200_000_000_000 + 1_700_000_000_000_000_000  # nanoseconds
    (nanoseconds,) = SeriesLoader(data, steps=8, nodes=torch.tensor([0]))
    assert days.time.dtype == nanoseconds.time.dtype == torch.float64
    assert torch.equal(days.time, nanoseconds.time)
    assert days.time.flatten().tolist() == [0.5 * step for step in range(STEPS)]
    del data.time
    assert next(iter(SeriesLoader(data))).get("time") is None


def test_a_graph_of_one_node():
    data = Data(x=random(1, 12, 1), edge_index=torch.zeros(2, 0, dtype=torch.int64))
    (batch,) = SeriesLoader(data, steps=12, masking=Masking(), neighbors=True)
    assert batch.x.shape == (1, 12, 1)
    assert batch.edge_index.shape == (2, 0)
    assert batch.hidden.any()


def test_errors():
    data = network()
    for options, message in (
        ({"steps": 0}, "steps is 0"),
        ({"stride": 0}, "stride is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"rank": 2, "world_size": 2}, "rank is 2"),
        ({"nodes": torch.tensor([6])}, "nodes lie between 6 and 6; there are 6"),
        ({"nodes": torch.tensor([-1])}, "nodes lie between -1"),
        ({"nodes": torch.tensor([], dtype=torch.int64)}, "nodes names none"),
        ({"hidden": torch.ones(NODES, STEPS, 1, dtype=torch.bool)}, "hidden has shape"),
        ({"hidden": torch.zeros_like(data.mask)}, "nothing to reconstruct"),
        ({"hidden": data.mask, "masking": Masking()}, "exclude each other"),
        ({"masking": Masking(min_block_size=5), "steps": 8}, "min_block_size is 5"),
        ({"masking": Masking(max_mask_ratio=1.5)}, "shares with"),
        ({"masking": Masking(max_block_size=0)}, "max_block_size is 0"),
        ({"masking": Masking(min_block_size=0)}, "min_block_size is 0"),
    ):
        with pytest.raises(InputError, match=message):
            SeriesLoader(data, **options)
    unseen = Data(x=torch.zeros(2, 9, 1), mask=torch.zeros(2, 9, 1, dtype=torch.bool))
    with pytest.raises(InputError, match="nothing to reconstruct"):
        SeriesLoader(unseen, masking=Masking())
    with pytest.raises(InputError, match=r"^mask has shape \(2, 9\)"):
        SeriesLoader(Data(x=unseen.x, mask=unseen.mask[..., 0]))
    with pytest.raises(InputError, match="each series has its own times"):
        SeriesLoader(curves(), neighbors=True)
    with pytest.raises(InputError, match="the graph has no edges"):
        SeriesLoader(unseen, neighbors=True)
    with pytest.raises(InputError, match="must have values x"):
        SeriesLoader(Data(x=torch.zeros(2, 3)))
    assert repr(SeriesLoader(data)) == "SeriesLoader(6 samples, steps=40, batch_size=32)"
