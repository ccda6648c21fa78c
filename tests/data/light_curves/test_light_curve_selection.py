import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from stgraph.data import KNNGraph
from stgraph.data.light_curves import from_light_curves, select_curves
from stgraph.errors import InputError


def four_stars():
    data = from_light_curves(
        [[0.0, 1.0, 2.0], [0.5, 1.0], [3.0, 4.0, 7.0], [1.0, 2.0, 4.0]],
        [[1.0, 2.0, 3.0], [4.0, 5.0], [6.0, 7.0, 8.0], [9.0, 10.0, 11.0]],
        [[0.1] * 3, [0.2] * 2, [0.3] * 3, [0.4] * 3],
        names=["a", "b", "c", "d"],
        sky=[[0.0, 0.0], [1.0, 0.0], [2.5, 0.0], [359.0, 0.0]],
        metadata={"teff": [1, 2, 3, 4], "class": ["w", "x", "y", "z"]},
    )
    return KNNGraph(k=1)(data)


@pytest.mark.parametrize("index", [[2, 0], ["c", "a"], torch.tensor([2, -4])])
def test_everything_of_the_chosen_stars_is_kept(index):
    data = four_stars()
    chosen = select_curves(data, index)
    for name in ("x", "mask", "time", "flux_error", "length", "sky", "pos"):
        assert torch.equal(chosen[name], data[name][[2, 0]]), name
    assert chosen.node_names == ["c", "a"]
    assert chosen.metadata["teff"].tolist() == [3, 1]
    assert chosen.metadata["class"].tolist() == ["y", "w"]
    assert set(chosen.keys()) == set(data.keys())
    assert data.metadata["teff"].tolist() == [1, 2, 3, 4]
    assert data.node_names == ["a", "b", "c", "d"]


def test_edges_between_the_chosen_stars_remain():
    data = four_stars()
    assert data.edge_index.tolist() == [[1, 0, 1, 0], [0, 1, 2, 3]]
    chosen = select_curves(data, np.array([False, True, True, True]))
    assert chosen.edge_index.tolist() == [[0], [1]]
    assert torch.equal(chosen.edge_attr, data.edge_attr[2:3])


def test_a_mask_that_hides_nothing_stays():
    assert select_curves(four_stars(), ["a", "c"]).mask.all()


def test_a_shared_time_and_common_frequencies_stay():
    data = from_light_curves([0.0, 1.0, 2.0], np.arange(9.0).reshape(3, 3), shared_time=True)
    assert torch.equal(select_curves(data, [1]).time, data.time)
    spectra = Data(x=torch.rand(3, 3, 2), frequency=torch.tensor([0.1, 0.2, 0.3]), metadata={"teff": np.arange(3)})
    chosen = select_curves(spectra, [2])
    assert torch.equal(chosen.frequency, spectra.frequency)
    assert torch.equal(chosen.x, spectra.x[2:])
    own = Data(x=torch.rand(3, 4, 2), frequency=torch.rand(3, 4))
    assert torch.equal(select_curves(own, [2]).frequency, own.frequency[2:])


@pytest.mark.parametrize(
    ("index", "message"), [(["e"], "unknown node 'e'"), ([4], "does not exist"), ([], "leaves no")]
)
def test_stars_that_do_not_exist(index, message):
    with pytest.raises(InputError, match=message):
        select_curves(four_stars(), index)


def test_metadata_that_do_not_fit():
    data = four_stars()
    data.metadata = {"teff": np.arange(3)}
    with pytest.raises(InputError, match=r"metadata\['teff'\].*4 stars"):
        select_curves(data, [0])
