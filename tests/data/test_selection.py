import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.utils import subgraph

from stgraph.data import from_array, select_channels, select_nodes, select_time
from stgraph.errors import InputError, InputTypeError


def series(steps=5, nodes=5, channels=3):
    """As many steps as nodes by default, which PyG's own rules cannot tell apart."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(steps, nodes, channels, generator=generator)
    values[0, 0, 0] = float("nan")
    data = from_array(
        values,
        coords=torch.rand(nodes, 2, generator=generator),
        time=np.arange(steps) * 1.0,
        static=np.arange(nodes),
        covariates=np.arange(steps),
        node_names=[f"n{i}" for i in range(nodes)],
        channel_names=[f"c{i}" for i in range(channels)],
    )
    data.edge_index = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    data.edge_attr = torch.arange(5.0)[:, None]
    data.edge_weight = torch.arange(5.0) + 10
    return data


def test_select_nodes_takes_everything_of_the_nodes_and_nothing_of_time():
    data = series()
    chosen = select_nodes(data, [4, 0, 2])
    for key in ("x", "mask", "pos", "static"):
        assert torch.equal(chosen[key], data[key][[4, 0, 2]]), key
    for key in ("time", "covariates"):
        assert torch.equal(chosen[key], data[key]), key
    assert chosen.node_names == ["n4", "n0", "n2"]
    assert chosen.channel_names == data.channel_names
    assert chosen.edge_index.tolist() == [[0], [1]]
    assert chosen.edge_attr.tolist() == [[4.0]]
    assert chosen.edge_weight.tolist() == [14.0]
    assert chosen.num_nodes == 3


def test_the_given_graph_is_not_changed():
    data = series()
    before = {
        key: value.clone() if isinstance(value, torch.Tensor) else list(value) for key, value in data.to_dict().items()
    }
    select_nodes(data, [1, 2])
    select_channels(data, [1])
    select_time(data, slice(1, 3))
    after = data.to_dict()
    assert list(before) == list(after)
    for key, value in before.items():
        assert torch.equal(after[key], value) if isinstance(value, torch.Tensor) else after[key] == value, key


@pytest.mark.parametrize(
    "index",
    [
        [1, 3],
        (1, -2),
        np.array([1, 3]),
        torch.tensor([1, 3]),
        ["n1", "n3"],
        slice(1, None, 2),
        [False, True, False, True, False],
        torch.tensor([False, True, False, True, False]),
        range(1, 5, 2),
        np.array(["n1", "n3"]),
    ],
)
def test_ways_to_name_nodes(index):
    assert select_nodes(series(), index).node_names == ["n1", "n3"]


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(5)), st.integers(1, 5))
def test_edges_agree_with_those_of_pyg(order, count):
    data = series()
    index = torch.tensor(order[:count])
    chosen = select_nodes(data, index)
    kept, attr = subgraph(index, data.edge_index, data.edge_attr, num_nodes=5)
    assert torch.equal(index[chosen.edge_index], kept)
    assert torch.equal(chosen.edge_attr, attr)


def test_choosing_twice_is_choosing_once():
    data = series()
    once = select_nodes(data, [4, 2])
    twice = select_nodes(select_nodes(data, [2, 0, 4]), [2, 0])
    assert torch.equal(once.x, twice.x)
    assert once.node_names == twice.node_names


def test_mask_disappears_with_the_last_missing_value():
    data = series()
    assert "mask" not in select_nodes(data, [1, 2])
    assert "mask" in select_nodes(data, [0])
    assert "mask" not in select_channels(data, [1])
    assert "mask" not in select_time(data, slice(1, None))


def test_own_times_go_with_their_nodes():
    data = series()
    data.time = torch.arange(25.0).view(5, 5)
    assert torch.equal(select_nodes(data, [3]).time, data.time[[3]])
    assert torch.equal(select_time(data, [0, 4]).time, data.time[:, [0, 4]])


def test_a_selection_of_a_grid_is_no_grid():
    data = from_array(torch.rand(4, 2, 3, 1))
    assert "grid" not in select_nodes(data, [0, 1])
    assert "grid" in data


@pytest.mark.parametrize("channels", [[2, 0], ["c2", "c0"], torch.tensor([2, 0])])
def test_select_channels(channels):
    data = series()
    chosen = select_channels(data, channels)
    assert torch.equal(chosen.x, data.x[:, :, [2, 0]])
    assert torch.equal(chosen.mask, data.mask[:, :, [2, 0]])
    assert chosen.channel_names == ["c2", "c0"]


def test_select_one_channel():
    data = series()
    for one in (1, "c1", -2, slice(1, 2)):
        assert torch.equal(select_channels(data, one).x, data.x[:, :, 1:2])


def test_select_time():
    data = series()
    part = select_time(data, slice(1, 4))
    assert part.x.data_ptr() == data.x[:, 1:].data_ptr()  # a view
    assert torch.equal(part.x, data.x[:, 1:4])
    assert part.time.tolist() == [1, 2, 3]
    assert part.covariates.flatten().tolist() == [1, 2, 3]
    assert torch.equal(part.static, data.static)
    assert torch.equal(part.pos, data.pos)
    assert select_time(data, slice(None, None, 2)).time.tolist() == [0, 2, 4]
    assert select_time(data, [0, 3]).mask.shape == (5, 2, 3)
    assert select_time(data, torch.tensor([True, False, True, False, True])).time.tolist() == [0, 2, 4]


@pytest.mark.parametrize("select", [select_nodes, select_channels, select_time])
@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        ([7], InputError, "7 does not exist; there are 5"),
        ([-6], InputError, "-6 does not exist"),
        ([], InputError, "leaves no"),
        (slice(9, None), InputError, "nothing|no "),
        ([False] * 5, InputError, "leaves no"),
        ([True, False], InputError, r"shape \(5,\)"),
        ([1.0, 2.0], InputTypeError, "vector of integers"),
        ([[1, 2]], InputTypeError, "vector of integers"),
        ([1, "n1"], InputTypeError, "by positions, names"),
        ([object()], InputTypeError, "by positions, names"),
    ],
)
def test_bad_selections(select, index, error, message):
    with pytest.raises(error, match=message):
        select(series(channels=5), index)


@pytest.mark.parametrize(
    ("select", "index", "message"),
    [
        (select_nodes, ["n9"], "unknown node 'n9'; there are n0, n1"),
        (select_channels, "speed", "unknown channel 'speed'"),
        (select_nodes, [1, 1], "may be selected once"),
        (select_nodes, [1, -4], "may be selected once"),
        (select_time, ["monday"], "by name"),
        (select_time, [3, 1], "rising"),
        (select_time, slice(None, None, -1), "forward"),
        (select_nodes, slice(None, None, -1), "leaves no"),
    ],
)
def test_more_bad_selections(select, index, message):
    with pytest.raises(InputError, match=message):
        select(series(), index)


def test_names_are_needed_to_select_by_name():
    data = from_array(torch.rand(4, 2, 3, 1))
    with pytest.raises(InputError, match="no channel_names"):
        select_channels(data, "c0")
