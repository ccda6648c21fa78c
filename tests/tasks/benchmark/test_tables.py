from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from stgraph.errors import InputError
from stgraph.tasks.benchmark.formats import Sheet, format_value, to_csv, to_latex, to_markdown, to_text
from stgraph.tasks.benchmark.ordering import ordering
from stgraph.tasks.benchmark.results import CellResult
from stgraph.tasks.benchmark.rows import Spread, model_rows, parts
from stgraph.tasks.benchmark.tables import benchmark_tables, left_out, summary_text
from tests.tasks.benchmark.small_results import done, with_forecasts

FAILED = CellResult("week", "gman", 1, "strict", "failed", "RuntimeError: out of | memory_100%")
MISSING = CellResult("pems_bay", "stid", 1, "strict", "missing", "no file pems-bay.h5")


def test_rows_have_means_over_seeds_and_are_sorted_by_their_average():
    results = [
        done("lstm", 1, 3.0, seconds=8.0), done("stid", 1, 1.0, seconds=2.0), done("stid", 2, 2.0, seconds=6.0), FAILED,
    ]  # fmt: skip
    (part,) = parts(results)
    rows = model_rows(part)
    assert [row.model for row in rows] == ["stid", "lstm", "gman"]
    assert rows[0].scores["strict", "12", "mae"] == Spread(1.5, pytest.approx(math.sqrt(0.5)))
    assert rows[1].scores["dcrnn", "average", "rmse"] == Spread(6.0, None)
    assert [row.relative_cost for row in rows] == [1.0, 2.0, None]
    assert rows[0].seeds == (1, 2)
    assert rows[2].failures == ((1, FAILED.reason),)


def test_a_seed_that_failed_leaves_the_mean_of_the_others():
    failed = CellResult("week", "stid", 2, "strict", "failed", "killed")
    (row,) = model_rows(parts([done("stid", 1, 1.0), failed])[0])
    assert row.scores["strict", "average", "mae"] == Spread(1.0)
    assert row.failures == ((2, "killed"),)


def test_data_sets_and_protocols_of_training_are_told_apart():
    results = [done("stid"), done("stid", protocol="dcrnn"), done("stid", dataset="other"), MISSING]
    assert [(p.dataset, p.protocol, len(p.results)) for p in parts(results)] == [
        ("week", "strict", 1),
        ("week", "dcrnn", 1),
        ("other", "strict", 1),
    ]
    assert left_out([*results, MISSING]) == ["pems_bay is left out: no file pems-bay.h5"]


def test_the_best_is_bold_ties_are_marked_and_failures_have_their_reason(tmp_path):
    results = [
        with_forecasts(tmp_path, m, s, size)
        for m, size in (("stid", 1.0), ("dcrnn", 1.0), ("lstm", 2.0))
        for s in (1, 2)
    ]
    (tables,) = benchmark_tables([*results, FAILED])
    errors = tables.sheets[0]
    assert errors.header[:4] == ("model", "MAE@3", "RMSE@3", "MAPE@3 %")
    assert errors.header[-5:] == ("MAPE %", "parameters", "s/epoch", "× STID", "memory in MB")
    names = [row[0] for row in errors.rows]
    assert names[2:] == ["lstm", "gman"]
    mae = errors.header.index("MAE")
    assert (0, mae) in errors.bold
    assert (1, mae) in errors.tied
    assert not {(i, j) for i, j in errors.bold | errors.tied if i > 1}
    assert errors.rows[3][1] == "failed"
    assert any("RuntimeError: out of | memory_100%" in note for note in errors.notes)
    assert "±" in errors.rows[0][1]
    text = summary_text([*results, FAILED, MISSING])
    assert "gman, seed 1, failed: RuntimeError" in text
    assert "pems_bay is left out" in text
    assert "≈" in text


def test_the_same_forecasts_under_every_protocol():
    results = [done("stid", 1, 1.25)]
    (tables,) = benchmark_tables(results)
    (sheet,) = [sheet for sheet in tables.sheets if "every protocol" in sheet.title]
    assert sheet.header == ("model", "strict", "dcrnn")
    assert sheet.rows == (("stid", "1.250 / 2.500 / 12.50", "1.250 / 2.500 / 12.50"),)


def test_published_numbers_stand_beside_and_say_where_the_protocol_differs():
    results = [done("stid", dataset="metr_la", seconds=2.0), done("dcrnn", dataset="metr_la", seconds=9.0)]
    (tables,) = benchmark_tables(results)
    published = next(sheet for sheet in tables.sheets if sheet.title.startswith("METR-LA"))
    dcrnn = [row for row in published.rows if row[0] == "DCRNN"]
    assert dcrnn[0] == (
        *("DCRNN", "2.68 / 5.18 / 6.88", "3.08 / 6.29 / 8.42", "3.57 / 7.57 / 10.34", "3.04 / 6.26 / 8.32"),
        *("370 K", "166.9", "A ≠"),
    )
    assert any("protocol: dcrnn ≠ strict" in note for note in published.notes)
    under_dcrnn = benchmark_tables([done("stid", dataset="metr_la", protocol="dcrnn")])[0].sheets
    published = next(sheet for sheet in under_dcrnn if sheet.title.startswith("METR-LA"))
    assert {row[0]: row[-1] for row in published.rows}["DGCRN"] == "C ≠"
    assert [row[-1] for row in published.rows if row[0] == "LSTM"] == ["A"]
    cost = next(sheet for sheet in tables.sheets if "cost" in sheet.title)
    assert cost.rows[1][3:] == ("4.500", "4.0 (A); 12.7 (C); 23.7 (D)")


def test_the_cost_on_the_week_stands_beside_that_on_the_whole_set():
    (tables,) = benchmark_tables([done("stid", dataset="metr_la_week")])
    assert any("cost" in sheet.title for sheet in tables.sheets)
    assert not any("published numbers" in sheet.title for sheet in tables.sheets)


def test_formats_escape_what_they_must():
    sheet = Sheet(
        "a_b",
        ("model", "x %"),
        (("m_1", "1 ± 2"), ("a|b", "3")),
        frozenset({(0, 1)}),
        frozenset({(1, 1)}),
        ("50 % & <b>",),
    )
    markdown = to_markdown(sheet)
    assert "| m_1 | **1 ± 2** |" in markdown
    assert "| a\\|b | 3 ≈ |" in markdown
    assert "\\<b>" in markdown
    latex = to_latex(sheet)
    assert r"m\_1 & \textbf{1 $\pm$ 2} \\" in latex
    assert r"a|b & 3 $\approx$ \\" in latex
    assert r"50 \% \& \textless{}b\textgreater{}" in latex
    assert "resizebox" not in latex
    assert latex.count("{") == latex.count("}")
    assert to_text(sheet).splitlines()[2:4] == ["m_1    1 ± 2*", "a|b        3≈"]
    wide = to_latex(Sheet("t", ("model", *"abcdefgh"), (("m", *"12345678"),)))
    assert "resizebox" in wide
    assert wide.count("{") == wide.count("}")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.inf, "inf"),
        (math.nan, "–"),
        (None, "–"),
        (0.0, "0.000"),
        (1e-9, "0.000000"),
        (99.996, "100.00"),
        (-2.5, "-2.500"),
    ],
)
def test_numbers(value, text):
    assert format_value(value) == text


def test_csv_has_a_row_for_each_number_and_for_each_failure():
    rows = list(csv.DictReader(io.StringIO(to_csv([done("stid", 3, 1.5), FAILED]))))
    assert len(rows) == 2 * 4 * 3 + 1
    assert rows[0] == {
        "dataset": "week",
        "model": "stid",
        "seed": "3",
        "training_protocol": "strict",
        "status": "done",
        "reason": "",
        "scoring_protocol": "strict",
        "horizon": "3",
        "metric": "mae",
        "value": "1.5",
        "parameters": "120000",
        "epochs": "8",
        "seconds_per_epoch": "",
        "training_seconds": "30.0",
        "peak_memory_mb": "900.0",
    }
    assert (rows[-1]["status"], rows[-1]["reason"], rows[-1]["value"]) == ("failed", FAILED.reason, "")


def test_infinite_errors_are_shown_and_never_the_best():
    cell = done("stid")
    cell.scores["strict"]["average"]["mape"] = math.inf
    (tables,) = benchmark_tables([cell, done("lstm", mae=2.0)])
    sheet = tables.sheets[0]
    assert sheet.rows[0][sheet.header.index("MAPE %")] == "inf"
    assert (0, sheet.header.index("MAPE %")) not in sheet.bold


def test_nothing_at_all():
    assert benchmark_tables([]) == []
    assert summary_text([MISSING]) == "pems_bay is left out: no file pems-bay.h5"


def test_groups_in_order():
    results = [done("a", mae=1.0), done("a", 2, mae=3.0), done("b", mae=1.5), done("c", mae=1.75), done("d", mae=4.0)]
    orders = ordering(results, "week", {"good": ["a", "b"], "middle": ["c"], "bad": ["d", "e"]})
    assert [(o.better, o.worse, o.holds) for o in orders] == [
        ("a", "c", False),
        ("b", "c", True),
        ("c", "d", True),
        ("c", "e", False),
    ]
    assert orders[0][2:4] == (2.0, 1.75)
    assert orders[3].worse_error is None
    assert not ordering(results, "other", {"x": ["a"], "y": ["d"]})[0].holds
    with pytest.raises(InputError, match="at least two groups"):
        ordering(results, "week", {"x": ["a"]})


def test_equal_seeds_have_no_deviation():
    assert Spread.of([2.0, 2.0]) == Spread(2.0, 0.0)
    assert np.isnan(Spread.of([math.nan, 1.0]).mean)
