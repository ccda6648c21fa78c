import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch_geometric.data import Batch

from stgraph.data import from_array, to_array, windows_to_array
from stgraph.errors import InputError

NAN = float("nan")


def line(count):
    return np.stack([np.arange(count), np.zeros(count)], axis=1)


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 2), (5, 1), (1, 3), (5, 4, 1, 2), (5, 1, 4, 2)])
def test_nodes_come_first(shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    flat = values.reshape(shape[0], -1, shape[-1] if len(shape) > 2 else 1)
    data = from_array(values, coords=line(flat.shape[1]))
    assert "grid" not in data
    assert "mask" not in data
    assert "time" not in data
    assert data.x.transpose(0, 1).is_contiguous()  # time first in memory: a window is one run of it
    np.testing.assert_array_equal(data.x.numpy(), flat.transpose(1, 0, 2))
    np.testing.assert_array_equal(to_array(data), flat)
    assert data.num_nodes == flat.shape[1]


def test_grid_is_row_major():
    values = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
    data = from_array(values)
    assert data.grid == (3, 4)
    np.testing.assert_array_equal(data.x[1 * 4 + 2].numpy(), values[:, 1, 2])
    np.testing.assert_array_equal(to_array(data), values)
    rows, columns = np.meshgrid(np.linspace(-1, 1, 3), np.linspace(-1, 1, 4), indexing="ij")
    np.testing.assert_allclose(data.pos.numpy(), np.stack([rows.ravel(), columns.ravel()], 1), atol=1e-7)


def test_grid_options():
    cells = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert from_array(cells.reshape(2, 12), grid=(3, 4)).grid == (3, 4)
    assert from_array(cells.reshape(2, 12, 1), grid=(3, 4)).grid == (3, 4)
    as_image = from_array(cells, grid=(3, 4))
    np.testing.assert_array_equal(to_array(as_image)[..., 0], cells)
    plain = from_array(cells[..., None], grid=False, coords=line(12))
    assert "grid" not in plain
    assert plain.x.shape == (12, 2, 1)
    column = from_array(np.arange(8.0).reshape(2, 4, 1, 1), grid=True)
    assert column.grid == (4, 1)
    assert column.pos[:, 1].tolist() == [0.0] * 4
    assert to_array(column).shape == (2, 4, 1, 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint8, bool, ">f4"])
def test_number_types(dtype):
    values = np.array([[0, 1], [1, 0], [1, 1]], dtype=dtype)
    data = from_array(values, coords=line(2))
    assert data.x.dtype == torch.float32
    np.testing.assert_array_equal(to_array(data)[:, :, 0], values.astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int32])
def test_tensors(dtype):
    values = torch.tensor([[1, 2], [3, 4]], dtype=dtype)
    data = from_array(values, coords=line(2))
    torch.testing.assert_close(data.x[:, :, 0], values.float().T)
    trained = from_array(torch.ones(3, 2, requires_grad=True).cumsum(0).T[:, :2], coords=line(2))
    assert not trained.x.requires_grad


def test_lists_and_non_contiguous_arrays():
    values = np.arange(24.0).reshape(4, 6)[::2, ::3]
    np.testing.assert_array_equal(to_array(from_array(values, coords=line(2)))[:, :, 0], values)
    assert from_array([[1, 2], [3, 5]], coords=line(2)).x.shape == (2, 2, 1)


def test_all_kinds_of_missing_values_meet_in_the_mask():
    values = np.ma.array([[0.0, 1.0], [2.0, NAN], [4.0, 5.0], [6.0, 7.0]], mask=False)
    values[2, 0] = np.ma.masked
    given_mask = np.array([[True, True], [True, True], [True, False], [True, True]])
    data = from_array(values, mask=given_mask, null_value=0, coords=line(2))
    assert data.mask[:, :, 0].tolist() == [[False, True, False, True], [True, False, False, True]]
    assert data.x[:, :, 0].tolist() == [[0, 2, 0, 6], [1, 0, 0, 7]]
    expected = np.array([[NAN, 1.0], [2.0, NAN], [NAN, NAN], [6.0, 7.0]])
    np.testing.assert_array_equal(to_array(data)[:, :, 0], expected)


def test_mask_may_leave_out_the_channels():
    data = from_array(np.ones((3, 2, 2)).cumsum(0), mask=np.array([[True, False]] * 3), coords=line(2))
    assert data.mask[0].all()
    assert not data.mask[1].any()
    grid = from_array(np.ones((3, 2, 2, 1)).cumsum(0), mask=np.arange(12).reshape(3, 2, 2) > 0)
    assert grid.mask.sum() == 11
    assert not grid.mask[0, 0, 0]


def test_infinity_is_no_error_where_it_is_masked():
    data = from_array([[np.inf, 1.0], [2.0, 3.0]], mask=np.array([[False, True], [True, True]]), coords=line(2))
    assert data.x[0, 0, 0] == 0


def test_null_value_is_compared_in_the_type_of_the_values():
    data = from_array(np.array([[-999.9, 1.0], [2.0, 3.0]], dtype=np.float32), null_value=-999.9, coords=line(2))
    assert data.mask.sum() == 3
    counts = from_array(np.array([[255, 1], [2, 3]], dtype=np.uint8), null_value=255, coords=line(2))
    assert counts.mask.sum() == 3


def test_the_input_is_neither_changed_nor_shared():
    values = np.array([[1.0, NAN], [2.0, 3.0]], dtype=np.float32)
    before = values.copy()
    data = from_array(values, coords=line(2))
    data.x.fill_(9)
    np.testing.assert_array_equal(values, before)
    full = np.ones((2, 2), dtype=np.float32).cumsum(0)
    from_array(full, coords=line(2)).x.fill_(9)
    assert full.max() == 2


@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_memory_map_stays_on_disk(tmp_path, mode):
    values = np.random.default_rng(0).normal(size=(50, 4, 2)).astype(np.float32)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode=mode)
    data = from_array(mapped, coords=line(4))
    assert data.x.data_ptr() == mapped.ctypes.data
    np.testing.assert_array_equal(to_array(data), values)


def test_memory_map_with_missing_values_is_read(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    values[3, 1] = NAN
    np.save(tmp_path / "values.npy", values)
    data = from_array(np.load(tmp_path / "values.npy", mmap_mode="r"), coords=line(4))
    assert data.x[1, 3, 0] == 0
    assert data.mask.sum() == values.size - 1


def test_long_series_are_looked_at_in_parts(monkeypatch):
    import stgraph.data.values as module

    values = np.random.default_rng(1).normal(size=(37, 3, 2))
    values[values > 1] = NAN
    whole = from_array(values, coords=line(3))
    monkeypatch.setattr(module, "_CHUNK_VALUES", 20)
    parts = from_array(values, coords=line(3))
    assert torch.equal(parts.x, whole.x)
    assert torch.equal(parts.mask, whole.mask)
    values[30, 2, 1] = np.inf
    with pytest.raises(InputError, match="step 30, node 2, channel 1 stands inf"):
        from_array(values, coords=line(3))


def test_a_node_never_observed_is_kept(caplog):
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        data = from_array([[1.0, NAN], [2.0, NAN]], coords=line(2))
    assert not data.mask[1].any()
    assert "1 of 2 nodes were never observed (first: 1)" in caplog.text


def test_a_constant_channel_is_kept(caplog):
    values = np.stack([np.full((4, 2), 3.0), np.arange(8.0).reshape(4, 2)], axis=2)
    values[0, 0, 0] = NAN
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        data = from_array(values, coords=line(2))
    assert data.x.shape == (2, 4, 2)
    assert "channels [0] have one and the same value" in caplog.text


def test_nodes_without_coordinates_lie_on_a_line():
    with pytest.warns(UserWarning, match="meaningless"):
        data = from_array(np.arange(6.0).reshape(2, 3))
    assert data.pos.tolist() == [[-1, 0], [0, 0], [1, 0]]
    with pytest.warns(UserWarning, match="meaningless"):
        single = from_array(np.arange(2.0).reshape(2, 1))
    assert single.pos.tolist() == [[0, 0]]


def test_static_covariates_and_names():
    data = from_array(
        np.arange(12.0).reshape(2, 2, 3, 1),
        static=np.arange(6).reshape(2, 3),
        covariates=[7, 8],
        node_names=np.array(list("abcdef")),
        channel_names=[b"flow"],
        time=[0.0, 1.0],
    )
    assert data.static.tolist() == [[0], [1], [2], [3], [4], [5]]
    assert data.covariates.tolist() == [[7], [8]]
    assert data.node_names == list("abcdef")
    assert data.channel_names == ["flow"]
    deep = from_array(np.arange(12.0).reshape(2, 2, 3, 1), static=np.zeros((2, 3, 5)))
    assert deep.static.shape == (6, 5)


def test_graphs_of_series_can_be_batched():
    graphs = [from_array(np.arange(4.0 * n).reshape(4, n), coords=line(n)) for n in (2, 3)]
    batch = Batch.from_data_list(graphs)
    assert batch.x.shape == (5, 4, 1)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=4),
        elements=st.floats(-1e6, 1e6, width=32) | st.just(NAN),
    )
)
def test_to_array_inverts_from_array(values):
    flat = values.reshape(-1, values.shape[-1] if values.ndim > 2 else 1)
    if np.isnan(flat).all(axis=0).any():
        with pytest.raises(InputError, match="no observed value"):
            from_array(values, grid=values.ndim == 4)
        return
    nodes = values[0].size // flat.shape[1]
    data = from_array(values, coords=line(nodes), grid=values.ndim == 4)
    expected = values if values.ndim > 2 else values[..., None]
    np.testing.assert_array_equal(to_array(data), expected)
    again = from_array(to_array(data), coords=data.pos, grid=values.ndim == 4)
    assert torch.equal(again.x, data.x)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 6), st.integers(1, 3))
def test_windows_to_array_inverts_windows(length, nodes, channels, more, stride):
    steps = length + more
    series = torch.rand(steps, nodes, channels, generator=torch.Generator().manual_seed(0))
    starts = torch.arange(0, steps - length + 1, stride)
    windows = series.unfold(0, length, 1)[starts].permute(0, 1, 3, 2)
    array = windows_to_array(windows, starts, steps)
    covered = np.zeros(steps, dtype=bool)
    for start in starts.tolist():
        covered[start : start + length] = True
    np.testing.assert_allclose(array[covered], series.numpy()[covered], rtol=1e-6)
    assert np.isnan(array[~covered]).all()


def test_windows_to_array_takes_the_mean_of_what_counts():
    windows = torch.tensor([[[1.0, 2.0]], [[4.0, NAN]]])[..., None]
    mask = torch.tensor([[[True, True]], [[True, False]]])[..., None]
    starts = torch.tensor([0, 1])
    assert windows_to_array(windows, starts, 3, mask).ravel().tolist()[:2] == [1.0, 3.0]
    assert np.isnan(windows_to_array(windows, starts, 3, mask)[2])
    mask[1, 0, 0] = False
    assert windows_to_array(windows, starts, 3, mask).ravel().tolist()[:2] == [1.0, 2.0]


def test_windows_to_array_of_quantiles_grids_and_half_precision():
    windows = torch.rand(2, 6, 2, 1, 3).bfloat16()
    array = windows_to_array(windows, torch.tensor([0, 2]), 4, grid=(2, 3))
    assert array.shape == (4, 2, 3, 1, 3)
    np.testing.assert_array_equal(array[2:].reshape(2, 6, 1, 3), windows[1].float().permute(1, 0, 2, 3).numpy())
    assert np.isnan(windows_to_array(torch.empty(0, 2, 3, 1), torch.empty(0, dtype=torch.int64), 4)).all()
