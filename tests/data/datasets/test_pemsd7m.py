import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from stgraph.data import to_datetime64
from stgraph.data.datasets import PeMSD7M
from stgraph.data.datasets.pemsd7m import read_pemsd7m
from stgraph.errors import InputError
from tests.data.datasets.published_files import forget_hashes

SPEED = np.random.default_rng(0).uniform(3, 80, (288 * 5, 3)).round(1)
DISTANCE = np.array([[0.0, 1500.0, 2700.0], [1500.0, 0.0, 2600.0], [2700.0, 2600.0, 0.0]])
STATIONS = (
    ",ID,Fwy,Dir,District,Latitude,Longitude\n"
    "0,716939,5,S,7,34.041407,-118.218373\n1,759700,5,S,7,34.020961,-118.195456\n2,716943,5,S,7,34.049972,-118.214481\n"
)


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "PeMSD7_V_228.csv", SPEED, "%.1f", ",")
    np.savetxt(folder / "PeMSD7_W_228.csv", DISTANCE, "%.1f", ",")
    (folder / "PeMSD7_M_Station_Info.csv").write_text(STATIONS)
    return folder / "PeMSD7_V_228.csv", folder / "PeMSD7_W_228.csv", folder / "PeMSD7_M_Station_Info.csv"


def check(data):
    np.testing.assert_array_equal(data.x[:, :, 0].T, SPEED.astype(np.float32))
    assert "mask" not in data
    times = to_datetime64(data.time).astype("datetime64[m]").reshape(5, 288)
    # 1 May 2012 was a Tuesday: after the Friday comes Monday the 7th.
    assert [str(day) for day in times[:, 0].astype("datetime64[D]")] == [
        f"2012-05-{day}" for day in ("01", "02", "03", "04", "07")
    ]
    assert (np.diff(times, axis=1) == np.timedelta64(5, "m")).all()
    assert data.node_names == ["716939", "759700", "716943"]
    kernel = np.exp(-((DISTANCE / 10_000) ** 2) / 0.1)
    expected = {(i, j) for i in range(3) for j in range(3) if i != j and kernel[i, j] >= 0.5}
    assert expected == {(0, 1), (1, 0), (1, 2), (2, 1)}  # 2.7 km are too far, 2.6 km are not
    source, target = data.edge_index
    assert set(zip(source.tolist(), target.tolist(), strict=True)) == expected
    torch.testing.assert_close(data.edge_weight, torch.from_numpy(kernel[source, target]).float())


def test_unpacked_tables(tmp_path, monkeypatch):
    forget_hashes(monkeypatch)
    write(tmp_path / "pemsd7m" / "raw")
    data = PeMSD7M(tmp_path, coordinates="cartesian")[0]
    check(data)
    torch.testing.assert_close(data.pos[1], torch.tensor([-118.195456, 34.020961]))


def test_archive(tmp_path, monkeypatch):
    forget_hashes(monkeypatch)
    folder = tmp_path / "pemsd7m" / "raw"
    speed, distance, _ = write(folder)
    with zipfile.ZipFile(folder / "PeMSD7_Full.zip", "w") as archive:
        for path in (speed, distance):
            archive.write(path, f"dataset/{path.name}")
            path.unlink()
    check(PeMSD7M(tmp_path)[0])


def test_what_does_not_fit(tmp_path):
    speed, distance, stations = write(tmp_path)
    np.savetxt(speed, SPEED[:-1], "%.1f", ",")
    with pytest.raises(InputError, match="whole days of 288 steps, got 1439 steps"):
        read_pemsd7m(speed, distance, stations)
    np.savetxt(speed, SPEED, "%.1f", ",")
    np.savetxt(distance, DISTANCE[:2], "%.1f", ",")
    with pytest.raises(InputError, match="matrix of the 3 stations of speed, got"):
        read_pemsd7m(speed, distance, stations)
    np.savetxt(distance, DISTANCE, "%.1f", ",")
    stations.write_text(STATIONS.rsplit("\n", 2)[0] + "\n")
    with pytest.raises(InputError, match=r"3 rows, got .* and 2 rows"):
        read_pemsd7m(speed, distance, stations)


def test_true_distances_and_stations(tmp_path):
    folder = Path(os.environ.get("STGRAPH_DATA", "/nowhere")) / "pemsd7m_graph"
    if not folder.is_dir():
        pytest.skip("needs the folder pemsd7m_graph in STGRAPH_DATA")
    with np.load(folder / "W_228.npz") as archive:
        distance = archive["distance_m"]
    np.savetxt(tmp_path / "W.csv", distance, "%.6f", ",")
    np.savetxt(tmp_path / "V.csv", np.random.default_rng(0).uniform(3, 80, (288, 228)), "%.1f", ",")
    data = read_pemsd7m(tmp_path / "V.csv", tmp_path / "W.csv", folder / "PeMSD7_M_Station_Info.csv")
    # The rows of the stations are in the order of the matrix: the distances belong to the positions.
    metres = 1000 * torch.cdist(data.pos, data.pos).numpy()
    upper = np.triu_indices(228, 1)
    assert np.corrcoef(metres[upper], distance[upper])[0, 1] > 0.99
    kernel = np.exp(-((distance / 10_000) ** 2) / 0.1)
    assert data.num_edges == ((kernel >= 0.5) & ~np.eye(228, dtype=bool)).sum()
