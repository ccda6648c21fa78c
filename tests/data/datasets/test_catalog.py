from __future__ import annotations

import pytest
import yaml

from stgraph.data.datasets.catalog import CatalogEntry, RemoteFile, catalog, entry, read_entry
from stgraph.errors import InputError

ENTRY = {
    "title": "Speeds of three detectors",
    "dataset": "stgraph.data.datasets.base:SeriesDataset",
    "files": [
        {
            "name": "speed.h5",
            "urls": ["https://example.org/speed.h5"],
            "sha256": "0" * 64,
            "size": 10,
            "source": "the authors' page",
        },
        {"name": "graph/adj.pkl", "source": "the authors' page"},
    ],
    "official": "https://example.org",
    "licence": "none is stated",
    "citation": "Doe (2018)",
    "description": "Miles an hour; 0 where missing.",
    "shape": "100 x 3 x 1",
    "input_steps": 12,
    "horizon": 12,
}


def write(tmp_path, **changes):
    values = {**ENTRY, **changes}
    path = tmp_path / "small_speeds.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not ...}))
    return path


def test_an_entry_has_what_its_file_says(tmp_path):
    found = read_entry(write(tmp_path))
    assert isinstance(found, CatalogEntry)
    assert found.name == "small_speeds"
    assert found.files == (
        RemoteFile("speed.h5", ("https://example.org/speed.h5",), "0" * 64, 10, "the authors' page"),
        RemoteFile("graph/adj.pkl", (), None, None, "the authors' page"),
    )
    assert (found.shape, found.input_steps, found.horizon) == ("100 x 3 x 1", 12, 12)
    assert found.size is None


def test_the_size_is_that_of_all_files(tmp_path):
    assert read_entry(write(tmp_path, files=ENTRY["files"][:1])).size == 10


def files_with(**changes):
    return {"files": [{**ENTRY["files"][0], **changes}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"license": "MIT"}, r"small_speeds\.yaml has the unknown keys \['license'\]"),
        ({"licence": ..., "shape": ...}, r"small_speeds\.yaml lacks the keys \['licence', 'shape'\]"),
        ({"name": "other"}, "name is 'other', but the file is named 'small_speeds'"),
        ({"title": 3}, "title must be text, got 3"),
        ({"citation": " "}, "citation must be text"),
        ({"dataset": "Small"}, "dataset must be 'module:Class', got 'Small'"),
        ({"files": None}, "files must be a list, got None"),
        ({"files": ["a"]}, r"files\[0\] must hold keys and values, got 'a'"),
        ({"files": [ENTRY["files"][0]] * 2}, "the names of files must be distinct"),
        ({"horizon": 0}, "horizon must be a positive whole number, got 0"),
        ({"input_steps": True}, "input_steps must be a positive whole number, got True"),
        (files_with(size=1.5), r"files\[0\]\.size must be a positive whole number"),
        (files_with(sha256="ABC"), r"files\[0\]\.sha256 must be 64 lower-case hexadecimal digits in quotes, got 'ABC'"),
        (files_with(urls="https://example.org"), r"files\[0\]\.urls must be a list"),
        (files_with(urls=["file:///etc/passwd"]), r"files\[0\]\.urls must begin with https:// or http://"),
        (files_with(name="../speed.h5"), r"files\[0\]\.name must lie in the raw folder"),
        (files_with(name="/speed.h5"), r"files\[0\]\.name must lie in the raw folder"),
        (files_with(md5="0"), r"files\[0\] has the unknown keys \['md5'\]"),
    ],
)
def test_a_mistake_in_an_entry_is_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_entry(write(tmp_path, **changes))


def test_a_file_that_is_no_yaml_is_named(tmp_path):
    path = tmp_path / "small_speeds.yaml"
    path.write_text("a: [")
    with pytest.raises(InputError, match=r"small_speeds\.yaml is not YAML"):
        read_entry(path)
    path.write_text("text")
    with pytest.raises(InputError, match="must hold keys and values"):
        read_entry(path)


def test_an_unknown_name_gets_the_nearest(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr("stgraph.data.datasets.catalog._FOLDER", tmp_path)
    catalog.cache_clear()
    try:
        assert entry("small_speeds").title == ENTRY["title"]
        with pytest.raises(
            InputError, match="'small_sped' is no data set of the catalogue; did you mean 'small_speeds'"
        ):
            entry("small_sped")
        with pytest.raises(InputError, match="there are small_speeds"):
            entry("xyz")
    finally:
        catalog.cache_clear()


def test_all_entries_of_the_package_can_be_read():
    assert all(found.name == name for name, found in catalog().items())
