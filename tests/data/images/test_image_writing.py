import logging

import h5py
import numpy as np
import pytest
import tifffile
from scipy.io import loadmat

from stgraph.data.images import Image, ImageWriter, check_image_path, from_image, read_image, write_image
from stgraph.errors import InputError, InputTypeError

CUBE = np.arange(4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)
WAVELENGTH = np.array([400.25, 500.5, 600.0])
GEOTIFF = {
    "format": "geotiff",
    "ModelPixelScaleTag": [30.0, 30.0, 0.0],
    "ModelTiepointTag": [0.0, 0.0, 0.0, 5e5, 4e6, 0.0],
    "GeoKeyDirectoryTag": [1, 1, 0, 1, 1024, 0, 1, 1],
    "GeoDoubleParamsTag": [6378137.0, 298.25],
    "GeoAsciiParamsTag": "WGS 84|",
}
ENVI = {"format": "envi", "map info": ["UTM", "1", "1", "500000", "4000000", "30", "30", "32", "North", "WGS-84"]}


@pytest.mark.parametrize("ending", [".npy", ".h5", ".hdf5", ".mat", ".tif", ".tiff", ".hdr"])
def test_images_come_back_from_every_kind_of_file(tmp_path, ending):
    path = tmp_path / f"result{ending}"
    values = CUBE.copy()
    values[1, 2, 0] = np.nan
    for content in (values, from_image(values, missing="mask"), values[:, :, :1]):
        write_image(path, content)
        expected = content if isinstance(content, np.ndarray) else values
        np.testing.assert_array_equal(read_image(path).values, expected)
    names = {"result.hdr", "result.img"} if ending == ".hdr" else {path.name}
    assert {file.name for file in tmp_path.iterdir()} == names


@pytest.mark.parametrize(
    ("ending", "georeference", "keeps_wavelength"),
    [(".h5", GEOTIFF, True), (".mat", ENVI, True), (".tif", GEOTIFF, False), (".hdr", ENVI, True)],
)
def test_wavelength_and_georeference_are_kept_where_there_is_a_place(tmp_path, ending, georeference, keeps_wavelength):
    path = tmp_path / f"result{ending}"
    write_image(path, from_image(CUBE, wavelength=WAVELENGTH, georeference=georeference))
    image = read_image(path)
    assert image.georeference == georeference
    if keeps_wavelength:
        np.testing.assert_array_equal(image.wavelength, WAVELENGTH)


@pytest.mark.parametrize(
    ("ending", "georeference", "lost"),
    [
        (".npy", ENVI, "wavelength, georeference"),
        (".tif", ENVI, "wavelength, georeference"),
        (".hdr", GEOTIFF, "georef"),
    ],
)
def test_what_a_file_has_no_place_for_is_told(tmp_path, caplog, ending, georeference, lost):
    with caplog.at_level(logging.WARNING, "stgraph"):
        write_image(tmp_path / f"result{ending}", CUBE, wavelength=WAVELENGTH, georeference=georeference)
    assert f"no place for it: {lost}" in caplog.text


def test_missing_values_of_a_geotiff_are_nan_when_written(tmp_path):
    write_image(tmp_path / "scene.tif", Image(CUBE, None, {**GEOTIFF, "GDAL_NODATA": "-9999"}))
    with tifffile.TiffFile(tmp_path / "scene.tif") as file:
        page = file.pages[0]
        assert page.tags[42113].value == "nan"
        assert (page.samplesperpixel, page.shape) == (3, (4, 5, 3))


def test_arrays_are_named_like_the_file_and_compressed(tmp_path):
    write_image(tmp_path / "super_resolved_hsi.mat", CUBE)
    np.testing.assert_array_equal(loadmat(tmp_path / "super_resolved_hsi.mat")["super_resolved_hsi"], CUBE)
    write_image(tmp_path / "8 bands.mat", CUBE)
    assert read_image(tmp_path / "8 bands.mat").name == "image_8_bands"
    write_image(tmp_path / "result.h5", CUBE)
    with h5py.File(tmp_path / "result.h5") as file:
        assert list(file) == ["result"]
        assert file["result"].compression == "gzip"
        assert file["result"].chunks is not None


def test_matlab_files_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("stgraph.data.images.writing._MATLAB_LIMIT", 100)
    with pytest.raises(InputError, match=r"2 GB at most.*use \.h5"):
        write_image(tmp_path / "result.mat", CUBE)
    assert not list(tmp_path.iterdir())


def test_an_older_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "result.h5"
    write_image(path, CUBE)
    with pytest.raises(InputTypeError, match="plain values"):
        write_image(path, CUBE + 1, georeference={"format": object()})
    np.testing.assert_array_equal(read_image(path).values, CUBE)
    assert [file.name for file in tmp_path.iterdir()] == ["result.h5"]


def test_outputs_are_checked_before_the_work(tmp_path):
    with pytest.raises(InputError, match=r"\.npy, \.h5.*got .*result\.jpg"):
        check_image_path(tmp_path / "result.jpg")
    with pytest.raises(InputError, match="there is no folder"):
        check_image_path(tmp_path / "absent" / "result.h5")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        check_image_path(tmp_path / "folder.h5")


def test_folders_that_cannot_be_written_to_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(InputError, match="no permission for the folder"):
        write_image(tmp_path / "result.h5", CUBE)


@pytest.mark.parametrize("name", ["result.h5", "result.npy"])
def test_blocks_make_the_image(tmp_path, name):
    with ImageWriter(tmp_path / name, CUBE.shape, wavelength=WAVELENGTH, georeference=ENVI) as writer:
        for row, column in ((0, 0), (0, 2), (3, 0), (3, 2)):
            rows, columns = slice(row, 3 if row == 0 else 4), slice(column, 2 if column == 0 else 5)
            writer.write(row, column, CUBE[rows, columns])
        assert not (tmp_path / name).exists()
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.values, CUBE)
    if name.endswith(".h5"):
        np.testing.assert_array_equal(image.wavelength, WAVELENGTH)
        assert image.georeference == ENVI


@pytest.mark.parametrize("name", ["result.h5", "result.npy"])
def test_nothing_is_left_of_an_image_that_failed(tmp_path, name):
    writer = ImageWriter(tmp_path / name, CUBE.shape)
    with (
        pytest.raises(InputError, match="10 of its 20 pixels were never written, the first at row 2, column 0"),
        writer,
    ):
        writer.write(0, 0, CUBE[:2])
    with pytest.raises(InputError, match="all its bands"), writer:
        writer.write(0, 0, CUBE[:, :, :1])
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="inside the with statement"):
        writer.write(0, 0, CUBE)


def test_blocks_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match="row 2, column 0"), ImageWriter(tmp_path / "a.npy", CUBE.shape) as writer:
        writer.write(2, 0, CUBE)
    with pytest.raises(InputError, match="all its bands"), ImageWriter(tmp_path / "a.npy", CUBE.shape) as writer:
        writer.write(0, 0, CUBE[:, :, :2])
    with pytest.raises(InputError, match=r"\.npy files, got .*a\.mat"):
        ImageWriter(tmp_path / "a.mat", CUBE.shape)
    with pytest.raises(InputError, match="shape must be"):
        ImageWriter(tmp_path / "a.npy", (4, 0, 3))
