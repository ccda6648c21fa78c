"""The rest frame: lines of one object type meet in one column, and regions find the way back."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stgraph.data.spectra.resampling import common_wavelengths
from stgraph.data.spectra.rest_frame import observed_range, observed_wavelengths, to_rest_frame
from stgraph.errors import InputError

LINE = 5000.0


def with_line(redshift: list[float], own_wavelengths: bool = False) -> Data:
    """Spectra with an emission line, 10 angstrom wide in the rest frame, at 5000 angstrom."""
    wavelength = torch.linspace(4000, 9000, 1001, dtype=torch.float64)
    z = torch.tensor(redshift, dtype=torch.float64)
    rest = wavelength / (1 + z.nan_to_num(0.0)).unsqueeze(1)
    x = 1 + 3 * (-0.5 * ((rest - LINE) / 10).square()).exp()
    rows = wavelength.expand(len(redshift), -1).clone() if own_wavelengths else wavelength
    return Data(
        x=x.float().unsqueeze(2), mask=torch.ones(*x.shape, 1, dtype=torch.bool), wavelength=rows, redshift=z,
        flux_error=torch.full((*x.shape, 1), 0.1),
    )  # fmt: skip


@pytest.mark.parametrize("own_wavelengths", [False, True])
def test_lines_are_in_the_same_column(own_wavelengths):
    data = with_line([0.0, 0.1, 0.35, 0.6], own_wavelengths)
    rest = to_rest_frame(data)
    peak = rest.x[..., 0].argmax(dim=1)
    assert (rest.wavelength[peak] - LINE).abs().max() < 3
    assert int(peak.max() - peak.min()) <= 1
    torch.testing.assert_close(rest.x.amax(dim=1), torch.full((4, 1), 4.0), rtol=0, atol=0.15)  # bins average
    steps = rest.wavelength.log().diff()
    torch.testing.assert_close(steps, steps.mean().expand_as(steps), rtol=1e-6, atol=0)
    assert rest.wavelength[0].item() == pytest.approx(4000 / 1.6)
    assert rest.wavelength[-1].item() == pytest.approx(9000)
    assert rest.frame == "rest"
    assert not rest.no_data.any()
    assert torch.equal(rest.redshift, data.redshift)
    assert "frame" not in data


def test_the_flux_is_not_multiplied_and_ranges_that_were_not_observed_are_masked():
    data = with_line([0.0, 1.0])
    grid = torch.linspace(3000, 6000, 301, dtype=torch.float64)
    rest = to_rest_frame(data, grid)
    assert torch.equal(rest.wavelength, grid)
    good = rest.mask[..., 0]
    assert torch.equal(good[0], grid >= 4000)
    assert torch.equal(good[1], grid <= 4500)
    torch.testing.assert_close(rest.x[1, :100, 0], torch.ones(100))


def test_a_spectrum_of_unknown_redshift_is_left_where_it_is_with_one_warning(caplog):
    data = with_line([0.2, float("nan"), float("nan"), float("nan")])
    data.mask[3] = False
    rest = to_rest_frame(data)
    assert [record.getMessage() for record in caplog.records] == [
        "the redshift of 2 of 4 spectra is unknown; they are taken as z = 0"
    ]
    same = to_rest_frame(with_line([0.2, 0.0, 0.0, 0.0]), rest.wavelength)
    assert torch.equal(rest.x[:3], same.x[:3])
    assert rest.redshift.isnan().tolist() == [False, True, True, True]
    assert rest.no_data.tolist() == [False, False, False, True]


def test_it_is_done_once():
    rest = to_rest_frame(with_line([0.1]))
    with pytest.raises(InputError, match="in the rest frame already"):
        to_rest_frame(rest)
    with pytest.raises(InputError, match="in the rest frame already"):
        common_wavelengths(rest, rest_frame=True)
    assert common_wavelengths(rest).numel() == rest.x.shape[1]


def test_redshifts_that_cannot_be_are_refused():
    for redshift, match in (([-1.0, 0.1], r"redshift\[0\] is -1"), ([0.1, float("inf")], r"redshift\[1\] is inf")):
        data = with_line([0.1, 0.1])
        data.redshift = torch.tensor(redshift)
        with pytest.raises(InputError, match=match):
            to_rest_frame(data)
    data.redshift = torch.tensor([torch.nan, torch.nan])
    with pytest.raises(InputError, match="no known redshift"):
        to_rest_frame(data)
    del data.redshift
    with pytest.raises(InputError, match="no known redshift"):
        to_rest_frame(data)


def test_the_way_back():
    data = with_line([0.25, float("nan")])
    assert torch.equal(observed_wavelengths(data, 0), data.wavelength)
    assert observed_range(data, 0, 0, 2) == (3997.5, 4007.5)
    rest = to_rest_frame(data)
    torch.testing.assert_close(observed_wavelengths(rest, 0), rest.wavelength * 1.25)
    assert torch.equal(observed_wavelengths(rest, -1), rest.wavelength)
    line = int(rest.x[0, :, 0].argmax())
    low, high = observed_range(rest, 0, line, line + 1)
    assert low - 5 < 1.25 * LINE < high + 5
    assert observed_range(rest, 0, line + 1, line + 3)[0] == high
    own = with_line([0.25, 0.0], own_wavelengths=True)
    assert torch.equal(observed_wavelengths(own, 1), own.wavelength[1])


def test_regions_that_do_not_exist_are_refused():
    data = with_line([0.25])
    for start, end in ((-1, 3), (3, 3), (0, 1002)):
        with pytest.raises(InputError, match=f"the region {start} to {end}"):
            observed_range(data, 0, start, end)
    with pytest.raises(InputError, match="row is 1; there are 1 spectra"):
        observed_range(data, 1, 0, 1)
