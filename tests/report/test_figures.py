from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from stgraph.errors import InputError
from stgraph.report import error_map, forecasts_at_nodes, horizon_errors, node_errors, save_figure
from stgraph.report.arrays import best_stretch, choose_nodes

DAY = np.timedelta64(1, "D").astype("timedelta64[ns]").astype(np.int64)


@pytest.fixture
def forecasts():
    rng = np.random.default_rng(0)
    y = 10 + rng.normal(size=(30, 6, 3, 2))
    mask = rng.random(y.shape) < 0.8
    p = y + np.arange(1, 7).reshape(1, -1, 1, 1) * rng.choice([-1, 1], size=y.shape)
    time = np.datetime64("2009-01-01", "ns").astype(np.int64) + DAY * (np.arange(30)[:, None] + np.arange(3))
    return p, y, mask, time


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def render(figure: Figure):
    """Lay out and draw; a warning of the layout would be an error."""
    figure.canvas.draw()


def test_lines_are_the_data_of_the_step_and_channel(forecasts):
    p, y, mask, time = forecasts
    figure = forecasts_at_nodes(
        p, y, mask=mask, time=time, baselines={"ridge": y + 2}, nodes=[4, 1], step=1, channel=1, node_names=list("abcdef"),
        channel_name="speed", unit="km/h", model_name="net",
    )  # fmt: skip
    render(figure)
    assert len(figure.axes) == 2
    drawn = lines(figure.axes[0])
    assert set(drawn) == {"Observed", "net", "ridge"}
    np.testing.assert_array_equal(drawn["net"].get_ydata(), p[:, 4, 1, 1])
    np.testing.assert_array_equal(drawn["ridge"].get_ydata(), y[:, 4, 1, 1] + 2)
    np.testing.assert_array_equal(drawn["Observed"].get_ydata(), np.where(mask, y, np.nan)[:, 4, 1, 1])
    np.testing.assert_array_equal(drawn["net"].get_xdata(orig=True), time[:, 1].astype("datetime64[ns]"))
    assert figure.axes[0].get_title(loc="left").startswith("e ")
    assert "MAE 5 km/h" in figure.axes[0].get_title(loc="left")
    assert figure.get_supylabel() == "speed (km/h)"
    assert figure.get_suptitle() == "Forecasts 2 steps ahead at 2 of 6 nodes"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ridge", "Observed", "net"]


def test_colours_and_styles_tell_the_lines_apart(forecasts):
    p, y, mask, _ = forecasts
    figure = forecasts_at_nodes(p, y, mask=mask, baselines={"a": y, "b": y, "c": y}, nodes=[0])
    drawn = lines(figure.axes[0])
    assert len({to_hex(line.get_color()) for line in drawn.values()}) == 5
    assert len({drawn[name].get_linestyle() for name in ("Forecast", "a", "b", "c")}) == 4


def test_quantiles_make_a_band_around_the_median(forecasts):
    p, y, mask, _ = forecasts
    quantiles = np.stack([p - 2, p, p + 3], -1)
    figure = forecasts_at_nodes(quantiles, y, mask=mask, quantiles=[0.1, 0.5, 0.9], nodes=[2])
    render(figure)
    (band,) = figure.axes[0].collections
    assert band.get_label() == "80 % interval"
    edges = band.get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(p[:, 2, 0, 0].min() - 2)
    assert edges.max() == pytest.approx(p[:, 2, 0, 0].max() + 3)
    np.testing.assert_array_equal(lines(figure.axes[0])["Forecast"].get_ydata(), p[:, 2, 0, 0])


def test_median_alone_has_no_band(forecasts):
    p, y, _, _ = forecasts
    assert not forecasts_at_nodes(p[..., None], y, quantiles=[0.5], nodes=[0]).axes[0].collections


def test_times_without_a_calendar(forecasts):
    p, y, _, _ = forecasts
    assert forecasts_at_nodes(p, y).axes[-1].get_xlabel() == "Window"
    time = np.arange(30.0)[:, None] + np.arange(3)
    figure = forecasts_at_nodes(p, y, time=time, step=2)
    assert figure.axes[-1].get_xlabel() == "Time"
    np.testing.assert_array_equal(lines(figure.axes[0])["Forecast"].get_xdata(), time[:, 2])


def test_four_nodes_from_good_to_bad_are_chosen():
    observed = np.zeros((50, 9))
    observed[:, 8] = np.nan
    observed[10:, 7] = np.nan
    point = np.broadcast_to(np.arange(9.0)[::-1], (50, 9))
    chosen = choose_nodes(point, observed)
    errors = [8 - n for n in chosen]
    assert errors == sorted(errors)
    assert len(chosen) == 4
    assert not {7, 8} & set(chosen)


@pytest.mark.parametrize(("nodes", "expected"), [(1, [0]), (2, [0, 1])])
def test_few_nodes_are_all_chosen(nodes, expected):
    assert sorted(choose_nodes(np.ones((3, nodes)), np.zeros((3, nodes)))) == expected


def test_the_stretch_with_most_observations_is_drawn():
    seen = np.array([0, 0, 1, 5, 5, 5, 0, 0])
    assert best_stretch(seen, 3) == slice(3, 6)
    assert best_stretch(np.zeros(5, int), 2) == slice(3, 5)
    assert best_stretch(seen, 8) == slice(0, 8)


def test_nothing_observed_is_drawn_and_said(forecasts):
    p, y, mask, _ = forecasts
    figure = forecasts_at_nodes(p, y, mask=np.zeros_like(mask))
    render(figure)
    assert "never observed" in figure.axes[0].get_title(loc="left")


def test_long_series_are_cut(forecasts):
    p, y, _, _ = forecasts
    figure = forecasts_at_nodes(p, y, max_windows=10)
    assert len(lines(figure.axes[0])["Forecast"].get_ydata()) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.zeros((30, 6, 3))}, r"target has shape \(30, 6, 3\); expected \(S, N, Q, C\)"),
        ({"prediction": np.zeros((1, 6, 3, 2))}, r"prediction has shape \(1, 6, 3, 2\); expected \(30, 6, 3, 2\)"),
        ({"mask": np.ones((30, 6, 3))}, r"mask has shape \(30, 6, 3\)"),
        ({"time": np.zeros(30)}, r"time has shape \(30,\); expected \(30, 3\)"),
        ({"quantiles": [0.5, 0.9]}, r"prediction has shape .* expected \(30, 6, 3, 2, 2\)"),
        ({"quantiles": [0.1, 0.9]}, "expected 0.5 among them"),
        ({"baselines": {"x": np.zeros(3)}}, r"baseline 'x' has shape \(3,\)"),
        ({"nodes": [6]}, "nodes names 6; expected 0 to 5"),
        ({"step": 3}, "step is 3 and channel 0; target has 3 steps and 2 channels"),
        ({"channel": -1}, "channel -1"),
        ({"prediction": np.zeros((0, 6, 3, 2)), "target": np.zeros((0, 6, 3, 2))}, "at least one window and node"),
    ],
)
def test_bad_forecasts_are_refused(forecasts, change, message):
    p, y, _, _ = forecasts
    with pytest.raises(InputError, match=message):
        forecasts_at_nodes(**({"prediction": p, "target": y} | change))


def test_node_errors_equal_a_loop(forecasts):
    p, y, mask, _ = forecasts
    mask[:, 3] = False
    ours = node_errors(p, np.where(mask, y, np.nan), mask)
    for n in range(6):
        expected = np.abs(p - y)[:, n][mask[:, n]].mean() if n != 3 else np.nan
        np.testing.assert_allclose(ours[n], expected)


def test_map_has_every_node_and_says_units():
    rng = np.random.default_rng(0)
    pos, error = rng.normal(size=(60, 3)), rng.random(60)
    error[:5] = np.nan
    figure = error_map(pos, error, unit="K", pos_unit="km", title="Errors")
    render(figure)
    empty, points = figure.axes[0].collections
    np.testing.assert_array_equal(np.sort(empty.get_offsets(), 0), np.sort(pos[:5, :2], 0))
    np.testing.assert_array_equal(points.get_array(), np.sort(error[5:]))
    np.testing.assert_array_equal(points.get_offsets(), pos[5:, :2][np.argsort(error[5:])])
    assert points.get_clim() == pytest.approx(np.percentile(error[5:], [2, 98]))
    assert figure.axes[0].get_xlabel() == "x (km)"
    assert figure.axes[1].get_ylabel() == "MAE (K)"
    assert figure.axes[0].get_title() == "Errors"


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("nodes", [1, 3])
def test_small_maps(dims, nodes):
    render(error_map(np.zeros((nodes, dims)), np.ones(nodes)))
    render(error_map(np.zeros((nodes, dims)), np.full(nodes, np.nan)))


def test_line_of_nodes_is_drawn_by_place():
    figure = error_map(np.array([[0.0], [2.0]]), np.array([1.0, 3.0]))
    (line,) = figure.axes[0].get_lines()
    np.testing.assert_array_equal(line.get_xydata(), [[0, 1], [2, 3]])


def test_grid_is_an_image_row_by_row():
    error = np.arange(12.0)
    error[5] = np.nan
    figure = error_map(None, error, grid=(3, 4))
    render(figure)
    (image,) = figure.axes[0].images
    np.testing.assert_array_equal(image.get_array().filled(np.nan), error.reshape(3, 4))


@pytest.mark.parametrize(
    ("pos", "error", "grid", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 1)), None, r"error has shape \(3, 1\)"),
        (np.zeros((3, 2)), np.zeros(0), None, r"error has shape \(0,\)"),
        (np.zeros((2, 2)), np.zeros(3), None, r"pos has shape \(2, 2\); expected \(3, D\)"),
        (np.zeros(3), np.zeros(3), None, r"pos has shape \(3,\)"),
        (None, np.zeros(3), (2, 2), r"grid is \(2, 2\); error has 3 nodes"),
    ],
)
def test_bad_maps_are_refused(pos, error, grid, message):
    with pytest.raises(InputError, match=message):
        error_map(pos, error, grid=grid)


def test_errors_by_step_are_lines():
    errors = {"net": [1.0, 2.0, np.nan], "ridge": [2.0, 3.0, 4.0]}
    figure = horizon_errors(errors, metric="RMSE", unit="K", step_unit="days")
    render(figure)
    drawn = lines(figure.axes[0])
    assert list(drawn) == ["net", "ridge"]
    np.testing.assert_array_equal(drawn["net"].get_ydata(), errors["net"])
    np.testing.assert_array_equal(drawn["ridge"].get_xdata(), [1, 2, 3])
    assert figure.axes[0].get_ylabel() == "RMSE (K)"
    assert figure.axes[0].get_xlabel() == "Forecast step (days)"
    assert figure.axes[0].get_ylim()[0] == 0


def test_errors_of_one_step_are_bars():
    figure = horizon_errors({"net": [1.0], "ridge": [2.0]}, unit="K")
    render(figure)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1, 2]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["net", "ridge"]
    assert figure.axes[0].get_xlabel() == "MAE (K)"


@pytest.mark.parametrize("errors", [{}, {"net": []}, {"net": [1.0], "ridge": [1.0, 2.0]}])
def test_bad_step_errors_are_refused(errors):
    with pytest.raises(InputError, match="expected the same number, at least 1, for at least one model"):
        horizon_errors(errors)


def test_figures_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    figure = horizon_errors({"net": [1.0], "ridge": [2.0]})
    path = save_figure(figure, tmp_path / "new" / "bars.png", dpi=40)
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG")

    def fail(temporary, **_):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["bars.png"]


def test_no_window_system_and_no_global_state():
    code = (
        "import sys, stgraph.report\n"
        "assert 'matplotlib' not in sys.modules, 'loaded too early'\n"
        "from stgraph.report import horizon_errors, save_figure\n"
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot keeps global state'\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


def test_unknown_names_are_refused():
    import stgraph.report

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        stgraph.report.nonsense  # noqa: B018
