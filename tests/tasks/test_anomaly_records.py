from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.data import Data

import stgraph
from stgraph.errors import InputError, InputTypeError
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.tasks import anomaly_records
from stgraph.tasks.anomaly_records import load_sampling_info, save_anomaly_record, save_sampling_info
from stgraph.tasks.catalogues import catalogue_column, target_names

IDS = [39627794000000000 + i for i in range(5)]


def window(start, end, value, reason="high_absolute_residual"):
    return {"range_start": start, "range_end": end, "reason_type": reason, "trigger_value": value}


#: Spectra 1 and 3 are flagged; 0 and 4 have a flagged window each, but too few.
METADATA = [
    [window(0, 4, 0.5)],
    [window(2, 6, 0.1, "high_relative_residual"), window(4, 8, 1 / 3, "range_mismatch")],
    [],
    [window(6, 10, 7.0)],
    [window(0, 4, 0.6)],
]
SCORES = [0.1, 1 / 7, float("nan"), 0.9, 0.2]


def result(**changes):
    values = {
        "regions": torch.zeros(5, 10, dtype=torch.bool),
        "anomalous": torch.tensor([False, True, False, True, False]),
        "metadata": METADATA,
        "score": torch.tensor(SCORES, dtype=torch.float64),
        "no_data": torch.tensor([False, False, True, False, False]),
        "rule": "documented",
        "window_size": 4,
        "window_start": torch.tensor([0]),
        "window_end": torch.tensor([4]),
        "window_score": torch.zeros(5, 1),
        "abs_residual_threshold": 0.0153,
        "rel_residual_threshold": 0.0469,
        "range_mismatch_factor": 1.5,
        "overall_anomaly_threshold": 0.3,
    }
    return AnomalousRegions(**values | changes)


def test_the_windows_are_those_of_the_flagged_spectra_themselves(tmp_path):
    wavelength = np.linspace(3600, 3780, 10)
    path = save_anomaly_record(
        result(), {"targetid": IDS}, json_directory=tmp_path, drawn=([1, 3], [3], 42), wavelength=wavelength
    )
    assert path == tmp_path / "sampling_info_1.json"
    assert [entry.name for entry in tmp_path.iterdir()] == ["sampling_info_1.json"]
    assert path.read_text(encoding="utf-8").splitlines()[1] == '    "Number of Anomalies": 2,'
    record = load_sampling_info(path)
    spectra = record.pop("anomalous_spectra")
    assert spectra == {
        str(IDS[1]): {
            "anomaly_ranges": [
                {
                    "range_start": 2, "range_end": 6, "justification": "high_relative_residual", "value": 0.1,
                    "wavelength_start": 3640.0, "wavelength_end": 3700.0,
                },
                {
                    "range_start": 4, "range_end": 8, "justification": "range_mismatch", "value": 1 / 3,
                    "wavelength_start": 3680.0, "wavelength_end": 3740.0,
                },
            ],
            "score": 1 / 7,
        },
        str(IDS[3]): {
            "anomaly_ranges": [
                {
                    "range_start": 6, "range_end": 10, "justification": "high_absolute_residual", "value": 7.0,
                    "wavelength_start": 3720.0, "wavelength_end": 3780.0,
                }
            ],
            "score": 0.9,
        },
    }  # fmt: skip
    software = record.pop("software")
    assert software["stgraph"] == stgraph.__version__
    assert software["numpy"] == np.__version__
    assert record == {
        "Number of Anomalies": 2,
        "Seed": 42,
        "absolute_residual_threshold": 0.0153,
        "relative_residual_threshold": 0.0469,
        "range_mismatch_factor": 1.5,
        "format_version": 1,
        "rule": "documented",
        "score_threshold": None,  # nan: this rule has none
        "overall_anomaly_threshold": 0.3,
        "window_size": 4,
        "number_of_spectra": 5,
        "no_data": [str(IDS[2])],
        "plotted": [str(IDS[3])],
        "sampling": {"method": "uniform, without replacement", "candidates": 2},
        "wavelength_frame": None,
        "data_checksum": None,
    }


def test_the_documented_call(tmp_path):
    record = load_sampling_info(
        save_sampling_info(
            np.array([1, 3]), [3], 7, METADATA, 0.0153, 0.0469, 1.5, json_directory=tmp_path,
            zpix_cat=pd.DataFrame({"targetid": IDS}),
        )
    )  # fmt: skip
    ranges = {name: entry["anomaly_ranges"] for name, entry in record["anomalous_spectra"].items()}
    assert [entry["range_start"] for entry in ranges[str(IDS[1])]] == [2, 4]
    assert ranges[str(IDS[3])] == [
        {"range_start": 6, "range_end": 10, "justification": "high_absolute_residual", "value": 7.0}
    ]
    assert (record["Number of Anomalies"], record["Seed"], record["plotted"]) == (2, 7, [str(IDS[3])])


def test_nothing_flagged_and_nothing_plotted(tmp_path):
    found = result(anomalous=torch.zeros(5, dtype=torch.bool))
    record = load_sampling_info(save_anomaly_record(found, IDS, json_directory=tmp_path))
    assert record["anomalous_spectra"] == {}
    assert (record["Number of Anomalies"], record["Seed"], record["plotted"]) == (0, None, [])


def test_no_record_is_written_over_another(tmp_path):
    paths = [save_anomaly_record(result(), IDS, json_directory=tmp_path / "new") for _ in range(3)]
    assert [path.name for path in paths] == [f"sampling_info_{i}.json" for i in (1, 2, 3)]


def test_a_record_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(anomaly_records, "replace_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_anomaly_record(result(), IDS, json_directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_become_null(tmp_path):
    metadata = [[window(0, 4, float("inf"))], *METADATA[1:]]
    found = result(
        anomalous=torch.tensor([True, False, False, False, False]), metadata=metadata,
        score=torch.full((5,), float("nan")), abs_residual_threshold=float("nan"), threshold=5.25,
    )  # fmt: skip
    path = save_anomaly_record(found, IDS, json_directory=tmp_path)
    assert "NaN" not in path.read_text(encoding="utf-8")
    record = load_sampling_info(path)
    assert record["absolute_residual_threshold"] is None
    assert record["score_threshold"] == 5.25
    entry = record["anomalous_spectra"][str(IDS[0])]
    assert (entry["score"], entry["anomaly_ranges"][0]["value"]) == (None, None)


def test_the_round_trip_is_exact(tmp_path):
    values = np.random.default_rng(0).normal(size=20) * 10.0 ** np.arange(-10, 10)
    metadata = [[window(0, 4, value) for value in values], *METADATA[1:]]
    record = load_sampling_info(
        save_sampling_info([0], [], None, metadata, np.float64(values[0]), torch.tensor(0.5), 1.5, tmp_path, IDS)
    )
    ranges = record["anomalous_spectra"][str(IDS[0])]["anomaly_ranges"]
    assert [entry["value"] for entry in ranges] == values.tolist()
    assert (record["absolute_residual_threshold"], record["relative_residual_threshold"]) == (values[0], 0.5)


def test_the_checksum_tells_data_apart(tmp_path):
    sums = [
        load_sampling_info(save_anomaly_record(result(), IDS, json_directory=tmp_path, data=data))["data_checksum"]
        for data in (Data(x=torch.zeros(5, 10, 1)), Data(x=torch.zeros(5, 10, 1)), Data(x=torch.ones(5, 10, 1)))
    ]
    assert sums[0] == sums[1]
    assert sums[0]["x"] != sums[2]["x"]


def test_each_spectrum_may_have_its_own_wavelengths(tmp_path):
    grid = np.arange(50.0).reshape(5, 10)
    record = load_sampling_info(save_anomaly_record(result(), IDS, json_directory=tmp_path, wavelength=grid))
    (entry,) = record["anomalous_spectra"][str(IDS[3])]["anomaly_ranges"]
    assert (entry["wavelength_start"], entry["wavelength_end"]) == (36.0, 39.0)


def test_a_documented_file_is_read(tmp_path):
    path = tmp_path / "sampling_info_4.json"
    path.write_text(
        '{"Number of Anomalies": 1, "Seed": 3, "absolute_residual_threshold": 0.0153, "relative_residual_threshold":'
        ' NaN, "range_mismatch_factor": 1.5, "anomalous_spectra": {"39627": {"anomaly_ranges": [{"range_start": 0,'
        ' "range_end": 50, "justification": "range_mismatch", "value": 2.5}]}}}',
        encoding="utf-8",
    )
    record = load_sampling_info(path)
    assert record["anomalous_spectra"]["39627"]["anomaly_ranges"][0]["value"] == 2.5
    assert record["relative_residual_threshold"] is None
    assert (record["Seed"], record["format_version"], record["window_size"]) == (3, None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[1]", "is not a record"),
        ('{"anomalous_spectra": [1]}', "is not a record"),
        ('{"anomalous_spectra": {"1": {"anomaly_ranges": [{"range_start": 1}]}}}', "spectrum '1'"),
        ('{"anomalous_spectra": {"1": {}}}', "spectrum '1'"),
        ('{"anomalous_spectra": {}, "format_version": 2}', "format version 2"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "file.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_sampling_info(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_sampling_info(tmp_path / "missing.json")


def test_what_does_not_belong_together_is_refused(tmp_path):
    def call(ids=(1, 3), plotted=(), metadata=METADATA, catalogue=IDS, **more):
        return lambda: save_sampling_info(ids, plotted, 1, metadata, 0.1, 0.1, 1.5, tmp_path, catalogue, **more)

    flagged_alone = [METADATA[1], METADATA[3]]
    for wrong, message in [
        (call(metadata=flagged_alone), "anomaly_metadata has 2 entries and the catalogue 5 rows"),
        (call(catalogue=IDS[:2]), "anomaly_metadata has 5 entries and the catalogue 2 rows"),
        (call(ids=[5]), "galaxy_ids holds 5 to 5"),
        (call(ids=[IDS[1]]), "galaxy_ids holds"),
        (call(ids=[True, False]), "galaxy_ids holds bool"),
        (call(ids=[1, 1]), "more than once"),
        (call(catalogue=["a"] * 5), "more than once"),
        (call(plotted=[-1]), "plot_galaxy_ids holds -1"),
        (call(catalogue=None), "catalogue is missing"),
        (call(zpix_cat=IDS), "given twice"),
        (call(score=[1.0]), r"score has shape \(1,\)"),
        (call(wavelength=np.zeros((2, 10))), r"wavelength has shape \(2, 10\)"),
        (call(wavelength=np.zeros(9)), "range 6 to 10"),
        (lambda: save_anomaly_record(result(), IDS[:4], json_directory=tmp_path), "names has 4 entries"),
    ]:
        with pytest.raises(InputError, match=message):
            wrong()
    with pytest.raises(InputTypeError, match="found is a tuple"):
        save_anomaly_record(tuple(result()), IDS, json_directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_of_all_kinds_of_catalogues():
    expected = [str(name) for name in IDS]
    structured = np.array([(name,) for name in IDS], dtype=[("TARGETID", "i8")])
    for catalogue in [
        {"targetid": IDS}, pd.DataFrame({"TargetID": IDS}), structured, IDS, np.array(IDS), torch.tensor(IDS),
        Data(node_names=expected), [name.encode() for name in expected],
    ]:  # fmt: skip
        assert target_names(catalogue) == expected
    assert target_names([1.0, 2.0]) == ["1", "2"]
    assert catalogue_column({"a": [1]}, ["b"]) is None
    with pytest.raises(InputError, match="not rounded ones"):
        target_names(np.array(IDS, dtype=np.float64))
    for without in ({"z": [1.0]}, Data(x=torch.zeros(1)), 5):
        with pytest.raises(InputError, match="without names"):
            target_names(without)


@pytest.mark.parametrize("frame", ["observed", "rest"])
def test_the_frame_of_the_wavelengths_is_told(tmp_path, frame):
    data = Data(x=torch.zeros(5, 10, 1))
    if frame == "rest":
        data.frame = "rest"
    wavelength = np.linspace(3600, 3780, 10)
    path = save_anomaly_record(result(), IDS, json_directory=tmp_path, wavelength=wavelength, data=data)
    assert load_sampling_info(path)["wavelength_frame"] == frame
