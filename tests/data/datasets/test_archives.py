import io
import zipfile

import pytest

from stgraph.data.datasets.archives import member, member_names
from stgraph.errors import InputError


@pytest.fixture
def nested(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("folder/deep.csv", "a,b\n1,2\n")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("folder/flat.csv", "c\n3\n")
        archive.writestr("inner.zip", inner.getvalue())
    return tmp_path / "outer.zip"


def test_by_name_in_folders_and_inner_archives(nested):
    with member(nested, "deep.csv") as deep, member(nested, "flat.csv") as flat:
        assert (deep.read(), flat.read()) == (b"a,b\n1,2\n", b"c\n3\n")
    assert member_names(nested, ".csv") == ["deep.csv", "flat.csv"]


def test_what_is_not_there(nested, tmp_path):
    with (
        pytest.raises(InputError, match=r"outer\.zip holds no file none\.csv; there are folder/flat\.csv, inner\.zip"),
        member(nested, "none.csv"),
    ):
        pass
    nested.write_bytes(nested.read_bytes()[:60])
    with pytest.raises(InputError, match=r"outer\.zip cannot be read"):
        member_names(nested, ".csv")
    with pytest.raises(FileNotFoundError, match=r"none\.zip"), member(tmp_path / "none.zip", "a"):
        pass
