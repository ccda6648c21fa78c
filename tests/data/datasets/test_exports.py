import importlib
import inspect
import subprocess
import sys

import pytest

from stgraph.data import datasets
from stgraph.data.datasets.catalog import catalog
from stgraph.data.datasets.crowd_flows import BikeNYC
from tests.data.datasets.test_crowd_flows import write


@pytest.mark.parametrize("name", datasets.__all__)
def test_every_name_is_there(name):
    assert getattr(datasets, name).__name__ == name
    assert name in dir(datasets)


def test_no_other_name():
    with pytest.raises(AttributeError, match="no attribute 'METR_LA'"):
        _ = datasets.METR_LA


@pytest.mark.parametrize("name", catalog())
def test_what_reads_an_entry(name):
    """It can be imported, takes the root by name, and a class goes by the entry's name."""
    module, attribute = catalog()[name].dataset.split(":")
    found = getattr(importlib.import_module(module), attribute)
    assert "root" in inspect.signature(found).parameters
    if inspect.isclass(found):
        assert found.name == name


def test_the_catalogue_is_read_without_torch():
    code = (
        "import sys; from stgraph.data.datasets.catalog import catalog; assert catalog();"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_parsed_series_is_kept(tmp_path, monkeypatch):
    write(tmp_path / "bike_nyc" / "raw" / "NYC14_M16x8_T60_NewEnd.h5", ["2014040101", "2014040102"])
    first = BikeNYC(tmp_path)[0]
    monkeypatch.setattr(BikeNYC, "read", lambda self: pytest.fail("parsed again"))
    second = BikeNYC(tmp_path)[0]
    assert (first.x == second.x).all()
    assert second.channel_names == ["new_flow", "end_flow"]
