import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stgraph.data import to_datetime64
from stgraph.data.datasets import LargeST, largest_gba, largest_gla, largest_sd
from stgraph.data.datasets.largest import read_largest
from stgraph.errors import InputError
from tests.data.datasets.published_files import write_fixed

IDS = [317802, 767494, 404356, 1114091, 801000]
DISTRICTS = [3, 7, 4, 11, 8]
ADJACENCY = np.array(
    [[1, 0, 0.5, 0, 0], [0, 1, 0, 0, 0.25], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0.75, 0, 0, 1]], dtype=np.float32
)


def write(folder, times, flow, name="ca_his_raw_2019.h5"):
    folder.mkdir(parents=True, exist_ok=True)
    # The columns of the table stand in another order than the rows of ca_meta.csv.
    order = [2, 0, 4, 1, 3]
    write_fixed(folder / name, pd.DataFrame(flow[:, order], times, [str(IDS[i]) for i in order]), "t")
    rows = [f"{IDS[i]},{38 - i}.5,{-121 + i}.25,{DISTRICTS[i]},County,I5-N,2,Mainline,N,{i}\n" for i in range(len(IDS))]
    (folder / "ca_meta.csv").write_text("ID,Lat,Lng,District,County,Fwy,Lanes,Type,Direction,ID2\n" + "".join(rows))
    np.save(folder / "ca_rn_adj.npy", ADJACENCY)
    return folder / name, folder / "ca_meta.csv", folder / "ca_rn_adj.npy"


def raw_flow(num_quarters):
    flow = np.random.default_rng(0).integers(1, 300, (3 * num_quarters, 5)).astype(np.float64)
    flow[1, 0] = np.nan  # 15 minutes with one reading missing,
    flow[3:6, 1] = np.nan  # with all missing,
    flow[6:9, 2] = 0  # and with three zeros
    return flow


def expected_means(times, flow):
    """As the authors' notebook has it, but for the filling of what is missing."""
    return pd.DataFrame(flow, times).resample("15min").mean().round(0)


@pytest.mark.parametrize("num_quarters", [5, 200])  # less and more than the steps that are read at once
def test_means_of_15_minutes(tmp_path, num_quarters):
    times = pd.date_range("2019-01-01", periods=3 * num_quarters, freq="5min")
    flow = raw_flow(num_quarters)
    write(tmp_path / "largest_ca" / "raw", times, flow)
    data = LargeST(tmp_path, coordinates="cartesian")[0]
    means = expected_means(times, flow)
    np.testing.assert_array_equal(data.x[:, :, 0].T, means.fillna(0).to_numpy())
    np.testing.assert_array_equal(data.mask[:, :, 0].T, means.notna() & (means != 0))
    np.testing.assert_array_equal(to_datetime64(data.time), means.index.to_numpy())
    assert data.node_names == [str(item) for item in IDS]
    assert data.pos[1].tolist() == [-120.25, 37.5] or data.pos[1].tolist() == [-119.75, 37.5]
    assert sorted(zip(*data.edge_index.tolist(), data.edge_weight.tolist(), strict=True)) == [
        (0, 2, 0.5),
        (1, 4, 0.25),
        (4, 1, 0.75),
    ]
    zeros = LargeST(tmp_path, null_value=None)[0]
    np.testing.assert_array_equal(zeros.mask[:, :, 0].T, means.notna())


def test_subsets(tmp_path):
    times = pd.date_range("2019-01-01", periods=15, freq="5min")
    flow = raw_flow(5)
    write(tmp_path / "largest_ca" / "raw", times, flow)
    means = expected_means(times, flow).fillna(0).to_numpy()
    for read, rows in ((largest_gla, [1, 4]), (largest_gba, [2]), (largest_sd, [3])):
        data = read(tmp_path)[0]
        assert data.node_names == [str(IDS[i]) for i in rows]
        np.testing.assert_array_equal(data.x[:, :, 0].T, means[:, rows])
    gla = largest_gla(tmp_path)[0]
    assert gla.edge_index.tolist() == [[0, 1], [1, 0]]
    assert gla.edge_weight.tolist() == [0.25, 0.75]


def test_flows_that_were_averaged_before(tmp_path):
    times = pd.date_range("2019-01-01", periods=6, freq="15min")
    flow = np.random.default_rng(0).integers(1, 300, (6, 5)).astype(np.float64)
    flow[2, 3] = 0
    write(tmp_path / "largest_ca", times, flow, "ca_his_2019.h5")
    data = LargeST(tmp_path)[0]
    np.testing.assert_array_equal(data.x[:, :, 0].T, flow)
    np.testing.assert_array_equal(data.mask[:, :, 0].T, flow != 0)


def test_steps_that_are_not_there(tmp_path):
    """As pandas' resample, 15 minutes without a row are a step of their own, which is missing."""
    times = pd.date_range("2019-03-10", periods=24, freq="5min")
    flow = np.random.default_rng(0).integers(1, 300, (24, 5)).astype(np.float64)
    kept = np.r_[0:6, 17:24]
    files = write(tmp_path, times[kept], flow[kept])
    data = read_largest(*files)
    means = expected_means(times[kept], flow[kept])
    assert data.x.shape == (5, 8, 1)
    np.testing.assert_array_equal(data.mask[0, :, 0], means[0].notna())
    np.testing.assert_array_equal(data.x[:, :, 0].T, means.fillna(0).to_numpy())


def test_what_does_not_fit(tmp_path):
    times = pd.date_range("2019-01-01", periods=15, freq="5min")
    flow, meta, adjacency = files = write(tmp_path, times, raw_flow(5))
    with pytest.raises(InputError, match="subset must be one of ca, gla, gba, sd, got 'la'"):
        read_largest(*files, subset="la")
    np.save(adjacency, ADJACENCY[:4])
    with pytest.raises(InputError, match=r"matrix of the 5 detectors of the table, got \(4, 5\)"):
        read_largest(*files)
    np.save(adjacency, ADJACENCY)
    write_fixed(flow, pd.DataFrame(np.ones((15, 2)), times, ["317802", "767494"]), "t")
    with pytest.raises(InputError, match=r"lacks 3 of 5 detectors, the first is 404356"):
        read_largest(*files)
    write_fixed(flow, pd.DataFrame(np.full((15, 5), np.nan), times, [str(i) for i in IDS]), "t")
    with pytest.raises(InputError, match="no observed value"):
        read_largest(*files)
    meta.write_text("ID,Lat,Lng\n1,2,3\n")
    with pytest.raises(InputError, match="lacks the columns District"):
        read_largest(*files)
    flow.write_bytes(b"no HDF5")
    write(tmp_path / "other", times, raw_flow(5))
    with pytest.raises(InputError, match="cannot be read"):
        read_largest(flow, tmp_path / "other" / "ca_meta.csv", adjacency)


@pytest.mark.parametrize("subset", ["gla", "gba", "sd"])
def test_true_tables_of_detectors(tmp_path, subset):
    """The districts of each subset give the detectors that others list for it, in the same order."""
    folder = Path(os.environ.get("STGRAPH_DATA", "/nowhere")) / "largest_sensor_meta"
    if not folder.is_dir():
        pytest.skip("needs the folder largest_sensor_meta in STGRAPH_DATA")
    ids = pd.read_csv(folder / "ca_meta.csv")["ID"]
    times = pd.date_range("2019-01-01", periods=3, freq="5min")
    flow = np.tile(np.arange(1.0, len(ids) + 1), (3, 1))
    write_fixed(tmp_path / "flow.h5", pd.DataFrame(flow, times, ids.astype(str)), "t")
    with (tmp_path / "adj.npy").open("wb") as file:  # zeros that take no room on the disk
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(ids), len(ids))}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 4 * len(ids) ** 2)
    data = read_largest(tmp_path / "flow.h5", folder / "ca_meta.csv", tmp_path / "adj.npy", subset=subset)
    table = pd.read_csv(folder / f"{subset}_meta.csv")
    assert data.node_names == table["ID"].astype(str).tolist()
    np.testing.assert_array_equal(data.x[:, 0, 0], table["ID2"] + 1)
