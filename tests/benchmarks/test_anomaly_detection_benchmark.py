"""The benchmark of anomaly detection: a tiny run of each part, what it says of it, and what it measures by itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import anomaly_detection as benchmark
from benchmarks import anomaly_detection_series as series
from benchmarks import anomaly_detection_spectra as spectra

TINY = ["--seeds", "1", "--threads", "1", "--spectra", "40", "--points", "121", "--epochs", "1"]


def run(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """The stored results of a tiny run."""
    threads = torch.get_num_threads()
    try:
        benchmark.main([*TINY, *arguments, "--output", str(tmp_path), "--work", str(tmp_path / "work")])
    finally:
        torch.set_num_threads(threads)
    document: dict[str, Any] = json.loads((tmp_path / "anomaly_detection.json").read_text())
    return document


def test_tiny_run_on_spectra_judges_every_method(tmp_path: Path) -> None:
    document = run(tmp_path, "--part", "spectra", "--sets", "A")
    methods = [record["method"] for record in document["records"] if record["injection"] == "regions"]
    assert len(methods) == len(set(methods)) == 19
    assert set(spectra.OURS) <= set(methods)
    assert {"PCA", "PCA, our errors and windows", "isolation forest", "local outlier factor"} <= set(methods)
    forms = [record for record in document["records"] if record.get("left") is not None]
    assert len(forms) == 6  # three networks, two injections
    assert all(0 <= record["auprc"] <= 1 for record in document["records"])
    text = (tmp_path / "anomaly_detection.txt").read_text()
    assert text.count("lead on AUPRC") + text.count("leads on AUPRC") == 2
    assert "share left" in text


def test_tiny_run_on_series_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "IRELAND_STEPS", 500)
    monkeypatch.setattr(series, "WINDOWS", 100)
    options = ["--part", "series", "--series", "Ireland"]
    first = run(tmp_path, *options)
    assert [record["method"] for record in first["records"]] == list(series.METHODS)
    (tmp_path / "work" / "series-Ireland-events-PCA-0.json").unlink()
    called: list[str] = []
    judge = series.judge
    monkeypatch.setattr(series, "judge", lambda case, method: called.append(method) or judge(case, method))
    assert len(run(tmp_path, *options, "--tables-only")["records"]) == len(series.METHODS) - 1
    assert called == []
    again = run(tmp_path, *options)
    assert called == ["PCA"]
    assert again["records"][0] == first["records"][0]
    assert "known after" in (tmp_path / "anomaly_detection.txt").read_text()


@pytest.mark.skipif("STGRAPH_DATA" not in os.environ, reason="STGRAPH_DATA does not name the folder of real data")
def test_real_sets() -> None:
    pytest.importorskip("astropy")
    assert spectra.galaxies("B", 4, 60, seed=0).x.shape == (4, 60, 1)
    grid = series.series("ERA5")
    assert grid.x.shape[0] == grid.grid[0] * grid.grid[1]
    assert series.series("METR-LA").x.shape == (207, 2016, 1)


def test_true_regions_in_the_rest_frame_are_at_the_same_flux() -> None:
    case = spectra.make_case("A", "regions", 30, 201, seed=1)
    changed = (case.observed.x - case.clean.x)[..., 0].abs() > 0
    region = spectra.true_regions(case, in_rest_frame=True)
    observed = case.rest.wavelength * (1 + case.observed.redshift[:, None])
    for row in case.observed.anomalous.nonzero().flatten().tolist():
        inside = case.observed.wavelength[changed[row]]
        found = observed[row, region[row]]
        step = float(case.observed.wavelength.diff().amax())
        assert abs(float(found.amin() - inside.amin())) < 2.5 * step
        assert abs(float(found.amax() - inside.amax())) < 2.5 * step
    assert not region[~case.observed.anomalous].any()


def test_copying_of_perfect_copies_and_of_none() -> None:
    change = torch.zeros(2, 6)
    change[1, 2:4] = 3.0
    region, anomalous = change > 0, torch.tensor([False, True])
    noise = torch.full((2, 6), 0.5)
    copied = spectra.copying(noise, change, region, anomalous)
    assert copied["inside_over_outside"] == 1.0
    kept = spectra.copying(change, change, region, anomalous)
    assert kept["left"] == 1.0
    assert kept["clean_rmse"] == 0.0


def test_alarms_are_known_when_a_window_and_what_it_looks_at_are_over() -> None:
    start = torch.tensor([0, 2, 4])
    outcome = series.Outcome(torch.zeros(2, 3), start, start + 4, look_ahead=2)
    flags = torch.tensor([[False, True, True], [True, False, False]])
    events = {"node": np.array([0, 1]), "start": np.array([5, 4]), "end": np.array([7, 6])}
    known = series.alarm_delay(flags, outcome, events)
    assert known[0] == 2.0  # the window 2 to 5 and the two steps after it
    assert known[1].isnan()  # the window 0 to 3 does not touch the event


def record(method: str, seed: int, auprc: float) -> dict[str, Any]:
    """What a method reached with a seed."""
    return {"method": method, "seed": seed, "auprc": auprc, "kinds": {"line": {"auprc": auprc}}}


def test_tables_say_who_leads() -> None:
    records = [record("ours", 0, 0.8), record("ours", 1, 0.6), record("peer", 0, 0.65), record("also ours", 0, 0.9)]
    assert benchmark.spread(benchmark.of(records, method="ours"), "auprc") == "0.700 ± 0.141"
    assert benchmark.lead(records, ("ours", "also ours")) == (
        "leads on AUPRC: ours 0.700, best other: peer 0.650; best of ours: also ours 0.900"
    )
    assert benchmark.lead(records, ("peer",)).startswith("does not lead on AUPRC: peer 0.650, best other: also ours")
    assert list(benchmark.by_method(records)) == ["also ours", "ours", "peer"]
    assert benchmark.kind_table(records, {"AUPRC": "auprc"}).splitlines()[0].split() == ["method", "line", "AUPRC"]
