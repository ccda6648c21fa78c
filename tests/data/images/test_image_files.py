import h5py
import numpy as np
import pytest
import tifffile
from scipy.io import savemat
from spectral.io import envi

from stgraph.data.images import read_image
from stgraph.errors import InputError, InputTypeError

CUBE = np.arange(4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)
GEOTIFF = [
    (33550, 12, 3, (30.0, 30.0, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 4e6, 0.0), True),
    (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    (34736, 12, 1, (6378137.0,), True),
    (34737, 2, 0, "WGS 84|", True),
]


def save_mat73(path, **variables):
    """As MATLAB 7.3 does: HDF5 with a block of text before it, arrays transposed, text as numbers."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("#refs#")
        for name, value in variables.items():
            if isinstance(value, str):
                file[name] = np.array([[ord(letter)] for letter in value], dtype=np.uint16)
                file[name].attrs["MATLAB_class"] = np.bytes_("char")
            else:
                file[name] = np.asarray(value).T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")


def save_hdf5(path, **variables):
    with h5py.File(path, "w") as file:
        for name, value in variables.items():
            file[name] = value


SAVERS = {
    "scene.mat": lambda path, **variables: savemat(path, variables),
    "scene73.mat": save_mat73,
    "scene.npz": lambda path, **variables: np.savez(path, **variables),
    "scene.hdf5": save_hdf5,
}


@pytest.mark.parametrize("name", SAVERS)
def test_array_of_a_file_with_its_wavelengths_in_micrometres(tmp_path, name):
    SAVERS[name](tmp_path / name, cube=CUBE.astype(np.float64), wavelengths=[0.4, 0.5, 0.6])
    image = read_image(tmp_path / name)
    assert image.values.dtype == np.float32
    np.testing.assert_array_equal(image.values, CUBE)
    np.testing.assert_allclose(image.wavelength, [400, 500, 600])
    assert image.name == "cube"


@pytest.mark.parametrize("name", SAVERS)
def test_arrays_are_chosen_by_key_and_listed(tmp_path, name):
    SAVERS[name](tmp_path / name, Y=CUBE, labels=np.ones((4, 5)))
    np.testing.assert_array_equal(read_image(tmp_path / name, "Y").values, CUBE)
    assert read_image(tmp_path / name, "labels").values.shape == (4, 5, 1)
    with pytest.raises(InputError, match=r"no array 'y'; there are .*labels"):
        read_image(tmp_path / name, "y")
    with pytest.raises(InputError, match=r"must hold one array.*labels"):
        read_image(tmp_path / name)


def test_bands_by_pixels_are_stored_column_by_column(tmp_path):
    savemat(tmp_path / "scene.mat", {"Y": CUBE.reshape(20, 3, order="F").T})
    options = {"layout": "bands_pixels", "rows": 4, "columns": 5}
    np.testing.assert_array_equal(read_image(tmp_path / "scene.mat", **options).values, CUBE)
    with pytest.raises(InputError, match="4 x 6 = 24"):
        read_image(tmp_path / "scene.mat", layout="bands_pixels", rows=4, columns=6)
    with pytest.raises(InputError, match="needs rows and columns"):
        read_image(tmp_path / "scene.mat", layout="bands_pixels", rows=4)
    with pytest.raises(InputError, match="'bands_pixels' only"):
        read_image(tmp_path / "scene.mat", rows=4)
    with pytest.raises(InputError, match="layout must be"):
        read_image(tmp_path / "scene.mat", layout="pixels_bands")


def test_wavelengths_given_replace_those_of_the_file(tmp_path):
    np.savez(tmp_path / "scene.npz", cube=CUBE, wavelength=[400, 500, 600])
    assert read_image(tmp_path / "scene.npz", wavelength=[410, 500, 600]).wavelength[0] == 410
    with pytest.raises(InputError, match="multiply micrometres by 1000"):
        read_image(tmp_path / "scene.npz", wavelength=[0.4, 0.5, 0.6])
    with pytest.raises(InputError, match="3 bands, got the shape \\(2,\\)"):
        read_image(tmp_path / "scene.npz", wavelength=[400, 500])
    with pytest.raises(InputError, match="wavelength\\[1\\] is not"):
        read_image(tmp_path / "scene.npz", wavelength=[400, 0, 600])


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">u2", "<f4", ">f8"])
@pytest.mark.parametrize("layout", ["samples", "planes", "pages", "one"])
def test_bands_of_a_tiff_are_samples_or_pages(tmp_path, dtype, layout):
    path, cube = tmp_path / "scene.tif", CUBE.astype(dtype)
    expected, byteorder = CUBE, ">" if dtype[0] == ">" else "<"
    if layout == "samples":
        tifffile.imwrite(path, cube, photometric="minisblack", planarconfig="contig", byteorder=byteorder)
    elif layout == "planes":
        planes = cube.transpose(2, 0, 1)
        tifffile.imwrite(path, planes, photometric="minisblack", planarconfig="separate", byteorder=byteorder)
    elif layout == "pages":
        tifffile.imwrite(path, cube.transpose(2, 0, 1), photometric="minisblack", byteorder=byteorder)
    else:
        expected = CUBE[:, :, :1]
        tifffile.imwrite(path, cube[:, :, 0], byteorder=byteorder)
    np.testing.assert_array_equal(read_image(path).values, expected)


def test_geotiff_keeps_its_tags_and_knows_what_is_missing(tmp_path):
    path = tmp_path / "scene.tiff"
    tags = [*GEOTIFF, (42113, 2, 0, "7", True)]
    tifffile.imwrite(path, CUBE, photometric="minisblack", planarconfig="contig", metadata=None, extratags=tags)
    image = read_image(path)
    np.testing.assert_array_equal(image.values, np.where(CUBE == 7, np.nan, CUBE))
    assert image.georeference == {
        "format": "geotiff",
        "ModelPixelScaleTag": [30.0, 30.0, 0.0],
        "ModelTiepointTag": [0.0, 0.0, 0.0, 5e5, 4e6, 0.0],
        "GeoKeyDirectoryTag": [1, 1, 0, 1, 1024, 0, 1, 1],
        "GeoDoubleParamsTag": [6378137.0],
        "GeoAsciiParamsTag": "WGS 84|",
        "GDAL_NODATA": "7",
    }


def test_smaller_copies_in_a_tiff_are_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "scene.tif") as file:
        file.write(CUBE, photometric="minisblack", planarconfig="contig", subfiletype=0)
        file.write(CUBE[::2, ::2], photometric="minisblack", planarconfig="contig", subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "scene.tif").values, CUBE)


def test_pages_of_different_sizes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "scene.tif") as file:
        file.write(CUBE[:, :, 0])
        file.write(CUBE[:2, :, 0])
    with pytest.raises(InputError, match="one size, got \\(2, 5\\), \\(4, 5\\)"):
        read_image(tmp_path / "scene.tif")


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize(("unit", "factor"), [("Nanometers", 1), ("nm", 1), ("Micrometers", 1000), ("um", 1000)])
def test_envi_image_with_its_header(tmp_path, interleave, unit, factor):
    header = {
        "wavelength": [str(value / factor) for value in (400.0, 500.0, 600.0)],
        "wavelength units": unit,
        "map info": ["UTM", "1", "1", "500000", "4000000", "30", "30", "32", "North", "WGS-84"],
        "data ignore value": "7",
    }
    envi.save_image(str(tmp_path / "scene.hdr"), CUBE.astype(">i2"), interleave=interleave, metadata=header)
    image = read_image(tmp_path / "scene.hdr")
    np.testing.assert_array_equal(image.values, np.where(CUBE == 7, np.nan, CUBE))
    np.testing.assert_allclose(image.wavelength, [400, 500, 600])
    assert image.georeference == {"format": "envi", "map info": header["map info"]}


def test_envi_image_is_divided_by_its_scale_factor(tmp_path):
    header = {"reflectance scale factor": "10", "wavelength": ["1", "2", "3"], "wavelength units": "Index"}
    envi.save_image(str(tmp_path / "scene.hdr"), CUBE, metadata=header)
    image = read_image(tmp_path / "scene.hdr")
    np.testing.assert_allclose(image.values, CUBE / 10)
    assert image.wavelength is None


def test_large_files_stay_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("stgraph.data.images.envi.MAPPED_BYTES", 10)
    monkeypatch.setattr("stgraph.data.images.stored.MAPPED_BYTES", 10)
    envi.save_image(str(tmp_path / "scene.hdr"), CUBE, interleave="bip")
    np.save(tmp_path / "scene.npy", CUBE)
    for name in ("scene.hdr", "scene.npy"):
        first = read_image(tmp_path / name)
        assert isinstance(first.values, np.memmap)
        first.values[:] = -1
        np.testing.assert_array_equal(read_image(tmp_path / name).values, CUBE)


@pytest.mark.parametrize("name", ["scene.mat", "scene73.mat", "scene.npz", "scene.hdf5", "scene.npy", "scene.tif"])
@pytest.mark.parametrize("kept", [0, 0.6])
def test_damaged_files_are_named(tmp_path, name, kept):
    path = tmp_path / name
    if name in SAVERS:
        SAVERS[name](path, cube=CUBE)
    elif path.suffix == ".npy":
        np.save(path, CUBE)
    else:
        tifffile.imwrite(path, CUBE, photometric="minisblack", planarconfig="contig")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=name):
        read_image(path)


def test_damaged_envi_files_are_named(tmp_path):
    envi.save_image(str(tmp_path / "scene.hdr"), CUBE)
    data = (tmp_path / "scene.img").read_bytes()
    (tmp_path / "scene.img").write_bytes(data[:-1])
    with pytest.raises(InputError, match=r"240 bytes, but .*scene.img has 239"):
        read_image(tmp_path / "scene.hdr")
    (tmp_path / "scene.img").unlink()
    with pytest.raises(InputError, match=r"scene\.hdr"):
        read_image(tmp_path / "scene.hdr")
    (tmp_path / "scene.hdr").write_text("ENVI\nlines = 4\n")
    with pytest.raises(InputError, match="Mandatory parameter"):
        read_image(tmp_path / "scene.hdr")


def test_files_that_are_no_images(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.mat"):
        read_image(tmp_path / "absent.mat")
    (tmp_path / "scene.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"\.mat, \.npy, \.npz, \.h5, \.hdf5, \.tif, \.tiff, \.hdr"):
        read_image(tmp_path / "scene.jpg")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"objects.npy"):
        read_image(tmp_path / "objects.npy")
    np.save(tmp_path / "vector.npy", np.ones(3))
    with pytest.raises(InputError, match="vector must be an image of the shape"):
        read_image(tmp_path / "vector.npy")
    with pytest.raises(InputError, match="holds one"):
        read_image(tmp_path / "vector.npy", "cube")
    savemat(tmp_path / "text.mat", {"text": "words"})
    with pytest.raises(InputTypeError, match="text must hold real numbers"):
        read_image(tmp_path / "text.mat")
    np.save(tmp_path / "waves.npy", CUBE * 1j)
    with pytest.raises(InputTypeError, match="complex"):
        read_image(tmp_path / "waves.npy")
    with h5py.File(tmp_path / "sparse.mat", "w") as file:
        file.create_group("matrix")
    with pytest.raises(InputTypeError, match="matrix must be a full array"):
        read_image(tmp_path / "sparse.mat")
    tifffile.imwrite(tmp_path / "scene.tif", CUBE[:, :, 0])
    with pytest.raises(InputError, match="key is for"):
        read_image(tmp_path / "scene.tif", "cube")
