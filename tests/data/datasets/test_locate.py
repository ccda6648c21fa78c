import sysconfig

import pytest

from stgraph.data.datasets import locate
from stgraph.data.datasets.locate import stgraph_data_folder


def test_beside_the_package():
    path = locate("germany_pm10.npz")
    assert path.is_file()
    assert path.parent.name == "data"


def test_installed_in_the_environment(tmp_path, monkeypatch):
    """Where nothing lies beside the package, as in site-packages."""
    installed = tmp_path / "prefix" / "share" / "stgraph" / "data"
    installed.mkdir(parents=True)
    (installed / "some.npz").write_bytes(b"")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "prefix"))
    assert locate("some.npz") == installed / "some.npz"


def test_the_error_says_where_it_looked(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.npz was found in none of .*share/stgraph/data.*root="):
        locate("none.npz")
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        locate("none.npz", tmp_path)


def test_data_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "week").mkdir()
    assert stgraph_data_folder("week", tmp_path) == tmp_path / "week"
    monkeypatch.setenv("STGRAPH_DATA", str(tmp_path))
    assert stgraph_data_folder("week") == tmp_path / "week"
    with pytest.raises(FileNotFoundError, match="month"):
        stgraph_data_folder("month")
    monkeypatch.delenv("STGRAPH_DATA")
    with pytest.raises(FileNotFoundError, match="variable STGRAPH_DATA"):
        stgraph_data_folder("week")
