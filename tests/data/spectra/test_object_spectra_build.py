import numpy as np
import pytest
import torch

from stgraph.data.spectra import from_spectra, select_spectra
from stgraph.errors import InputError, InputTypeError

GRID = [4000.0, 4001.0, 4003.0]


def test_good_points_need_flux_inverse_variance_and_mask():
    fluxes = [[1.0, np.nan, 3.0], [4.0, np.inf, 6.0]]
    data = from_spectra(GRID, fluxes, ivar=[[4.0, np.nan, 0.0], [0.25, 1.0, 1.0]], mask=[[1, 1, 1], [1, 1, 0]])
    assert data.mask[..., 0].tolist() == [[True, False, False], [True, False, False]]
    assert data.x[..., 0].tolist() == [[1.0, 0.0, 0.0], [4.0, 0.0, 0.0]]
    assert data.flux_error[..., 0].tolist() == [[0.5, 0.0, 0.0], [2.0, 0.0, 0.0]]
    assert data.x.dtype == data.flux_error.dtype == torch.float32
    assert data.wavelength.dtype == torch.float64
    assert data.node_names == ["0", "1"]
    assert "sky" not in data
    assert "redshift" not in data
    assert "time" not in data


def test_errors_mask_where_they_are_zero_or_unknown():
    data = from_spectra(GRID, [[1.0, 2.0, 3.0]], [[0.0, np.nan, 2.0]])
    assert data.mask[0, :, 0].tolist() == [False, False, True]
    assert data.flux_error[0, :, 0].tolist() == [0.0, 0.0, 2.0]


def test_spectra_without_a_good_point_are_kept():
    data = from_spectra(GRID, [[1.0, 2.0, 3.0], [np.nan] * 3, [5.0] * 3], ivar=[[1.0] * 3, [1.0] * 3, [0.0] * 3])
    assert data.no_data.tolist() == [False, True, True]
    assert not data.x[1:].any()
    assert not data.mask[1:].any()


def test_constant_flux_is_a_spectrum():
    data = from_spectra(GRID, [[7.0, 7.0, 7.0]])
    assert data.x.flatten().tolist() == [7.0, 7.0, 7.0]
    assert data.mask.all()
    assert "flux_error" not in data


def test_own_grids_are_padded_and_their_axes_continue():
    data = from_spectra([[1.0, 2.0, 4.0], [10.0], [5.0, 5.5]], [[1, 2, 3], [4], [5, 6]])
    assert data.wavelength.tolist() == [[1.0, 2.0, 4.0], [10.0, 11.0, 12.0], [5.0, 5.5, 6.0]]
    assert data.mask.sum(dim=1).flatten().tolist() == [3, 1, 2]
    assert data.x[1].flatten().tolist() == [4.0, 0.0, 0.0]


def test_wavelengths_that_end_in_nan_are_padding():
    data = from_spectra(np.array([[1.0, 2.0, np.nan], [3.0, 5.0, 6.0]]), np.ones((2, 3)), ivar=np.ones((2, 3)))
    assert data.wavelength.tolist() == [[1.0, 2.0, 3.0], [3.0, 5.0, 6.0]]
    assert data.mask[..., 0].tolist() == [[True, True, False], [True, True, True]]


def test_properties_belong_to_the_objects():
    data = from_spectra(
        torch.tensor(GRID),
        torch.ones(2, 3),
        names=[39627866878514741, "b"],
        sky=[[0.0, 0.0], [90.0, 0.0]],
        redshift=[0.5, np.nan],
        metadata={"spectype": ["GALAXY", "QSO"]},
    )
    assert data.node_names == ["39627866878514741", "b"]
    torch.testing.assert_close(data.pos, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), atol=1e-7, rtol=0)
    assert data.redshift[0] == 0.5
    assert data.redshift[1].isnan()
    assert data.redshift.dtype == torch.float64
    assert data.metadata["spectype"].tolist() == ["GALAXY", "QSO"]


def test_the_given_arrays_are_not_changed():
    fluxes, ivar = np.array([[1.0, np.nan, 3.0]], dtype=np.float32), np.array([[1.0, 1.0, 0.0]])
    before = fluxes.copy(), ivar.copy()
    from_spectra(GRID, fluxes, ivar=ivar)
    np.testing.assert_array_equal(fluxes, before[0])
    np.testing.assert_array_equal(ivar, before[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fluxes": [[1, 2, 3], [1, 2]]}, "give the wavelengths of each.*resample_spectra"),
        ({"fluxes": [[1, 2, 3, 4]]}, "vector of 3 points .* but fluxes has 4 points"),
        ({"fluxes": [[1, 2, 3]] * 2, "names": "ab"}, "names must be a list"),
        ({"wavelengths": [[1, 2, 3], [1, 2]], "fluxes": [[1, 2, 3]] * 2}, "'1' .* has 2 points in wavelengths"),
        ({"wavelengths": [1, 3, 2]}, "must rise strictly"),
        ({"wavelengths": [1, 1, 2]}, "must rise strictly"),
        ({"wavelengths": [0, 1, 2]}, "must be positive"),
        ({"wavelengths": [[np.nan] * 3]}, "a point for each spectrum"),
        ({"fluxes": []}, "at least one spectrum, got none"),
        ({"wavelengths": [[]], "fluxes": [[]]}, "at least one point for each spectrum"),
        ({"errors": [[1, 1, 1]], "ivar": [[1, 1, 1]]}, "give one of them"),
        ({"errors": [[1, -1, 1]]}, "errors must not be negative.*'0'"),
        ({"ivar": [[1, np.nan, 1]]}, "ivar must be finite.*'0'"),
        ({"ivar": [[1, np.inf, 1]]}, "ivar must be finite.*'0'"),
        ({"ivar": [[1, 1]]}, "has 2 points in ivar and 3 in fluxes"),
        ({"mask": [[1, 1, 1], [1, 1, 1]]}, "mask must hold 1 spectra"),
        ({"redshift": [-1.0]}, "above -1"),
        ({"redshift": [np.inf]}, "redshift must be finite"),
        ({"redshift": [0.1, 0.2]}, "redshift must have the shape"),
        ({"sky": [[400.0, 0.0]]}, "right ascension within"),
        ({"metadata": {"a": [1, 2]}}, "one entry for each of 1"),
        ({"fluxes": np.ones((2, 3)), "names": ["a", "a"]}, "distinct, but 'a'"),
        ({"fluxes": np.ones(3)}, "shape \\(N, L\\), got \\(3,\\)"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    given = {"wavelengths": GRID, "fluxes": [[1.0, 2.0, 3.0]], **arguments}
    with pytest.raises((InputError, InputTypeError), match=message):
        from_spectra(**given)


def test_negative_inverse_variance_names_all_spectra():
    ivar = np.array([[1.0, 1, 1], [1, -1, 1], [1, 1, 1], [-2, 1, 1]])
    with pytest.raises(InputError, match="ivar must not be negative, but is in 2 spectra: 'b', 'd'"):
        from_spectra(GRID, np.ones((4, 3)), ivar=ivar, names=list("abcd"))


def test_text_is_no_flux():
    with pytest.raises(InputTypeError, match=r"fluxes\[0\] must hold real numbers"):
        from_spectra(GRID, [["a", "b", "c"]])


def test_selecting_keeps_the_axis_of_as_many_points_as_objects():
    data = from_spectra(GRID, np.arange(9.0).reshape(3, 3), names=list("abc"), metadata={"kind": ["x", "y", "z"]})
    some = select_spectra(data, ["c", "a"])
    assert some.wavelength.tolist() == GRID
    assert some.node_names == ["c", "a"]
    assert some.x[:, 0, 0].tolist() == [6.0, 0.0]
    assert some.metadata["kind"].tolist() == ["z", "x"]
    assert some.mask.shape == (2, 3, 1)
    assert data.x.shape == (3, 3, 1)
    own = from_spectra([[1.0, 2.0], [3.0, 4.0]], [[1, 2], [3, 4]])
    assert select_spectra(own, [1]).wavelength.tolist() == [[3.0, 4.0]]
