"""What an anomaly run takes from a file, and how spectra are brought to its grid."""

from __future__ import annotations

import pytest
import torch

from stgraph.data.spectra import from_spectra, write_object_spectra
from stgraph.errors import InputError
from stgraph.tasks.anomaly_input import anomaly_kind_of, prepare
from stgraph.tasks.anomaly_options import AnomalyDataOptions

WAVELENGTH = [4000.0, 4500.0, 5000.0, 5500.0]


def options(**values):
    return AnomalyDataOptions(kind="spectra", rest_frame=False, **values)


def test_tables_of_spectra_are_told_by_their_columns_in_any_case(tmp_path):
    path = tmp_path / "spectra.csv"
    path.write_text('TARGETID,Flux,WAVELENGTH\n7,"[1.0, 2.0]","[4000, 4001]"\n')
    assert anomaly_kind_of(str(path)) == "spectra"
    path.write_text("flux,temperature\n1.0,2.0\n")
    assert anomaly_kind_of(str(path)) == "series"
    path.write_text("1.0,2.0\n3.0,4.0\n")
    assert anomaly_kind_of(str(path)) == "series"
    write_object_spectra(path, from_spectra(WAVELENGTH, [[1.0, 2.0, 3.0, 4.0]]))
    assert anomaly_kind_of(str(path)) == "spectra"


@pytest.mark.parametrize("own", [False, True])
def test_what_is_left_out_by_wavelength_can_leave_a_spectrum_without_data(own):
    wavelength = [WAVELENGTH] * 2 if own else WAVELENGTH
    data = from_spectra(wavelength, [[1.0] * 4] * 2, ivar=[[1.0, 1.0, 0.0, 0.0], [1.0] * 4])
    kept = prepare(data, options(min_wavelength=4800.0), None if own else torch.tensor([5000.0, 5500.0]))
    assert kept.no_data.tolist() == [True, False]
    assert data.no_data.tolist() == [False, False]


def test_the_lowest_wavelength_is_an_observed_one_in_the_rest_frame_too():
    data = from_spectra(WAVELENGTH, [[1.0] * 4] * 3, redshift=[0.0, 0.25, float("nan")])
    data.frame = "rest"
    kept = prepare(data, AnomalyDataOptions(kind="spectra", min_wavelength=5000.0))
    # Observed at 5000, 5625, 6250 and 6875 angstrom: nothing of the second spectrum is left out.
    assert kept.mask[1].all()
    assert [int(row.sum()) for row in kept.mask] == [2, 4, 2]
    with pytest.raises(InputError, match="the spectra end at 6875"):
        prepare(data, AnomalyDataOptions(kind="spectra", min_wavelength=7000.0))
