from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.tasks.evaluation import evaluate, evaluate_baselines, forecast, new_metrics
from tests.tasks.stand_in import MLPForecaster, make_datamodule, make_series


@pytest.fixture
def data():
    return make_datamodule(make_series(missing=0.3, channels=2), batch_size=5)


def test_forecasts_are_those_of_the_model_window_by_window(data):
    model = MLPForecaster(2, 4, 2, out_channels=1, dropout=0.5).fit(data.train_series)
    found = forecast(model, data.loader("test"))
    assert not model.training
    assert found.prediction.shape == found.target.shape == found.mask.shape == (19, 5, 2, 1)
    series = data.series
    for i, start in enumerate(found.start):
        expected = model.predict(
            series.x[None, :, start : start + 4], mask=series.mask[None, :, start : start + 4], pos=series.pos
        )
        np.testing.assert_allclose(found.prediction[i], expected[0], rtol=1e-4)
        np.testing.assert_array_equal(found.target[i], series.x[:, start + 4 : start + 6, :1])
        np.testing.assert_array_equal(found.mask[i], series.mask[:, start + 4 : start + 6, :1])
        np.testing.assert_array_equal(found.time[i], series.time[start + 4 : start + 6])


def test_metrics_on_the_way_are_those_of_an_evaluation(data):
    model = MLPForecaster(2, 4, 2).fit(data.train_series)
    metrics = new_metrics(model, ["a", "b"])
    found = forecast(model, data.loader("test"), metrics=metrics)
    result = evaluate(model, data.loader("test"), channel_names=["a", "b"])
    assert metrics.compute() == result
    error = np.abs(found.prediction - found.target)[found.mask].astype(np.float64)
    assert result["global"]["mae"] == pytest.approx(error.mean(), rel=1e-6)


def test_without_times_there_are_none():
    data = make_datamodule(make_series(time=False))
    assert forecast(MLPForecaster(1, 4, 2).fit(data.train_series), data.loader("test")).time is None


def test_no_windows():
    with pytest.raises(InputError, match="no window"):
        forecast(MLPForecaster(1, 4, 2), [])


def test_a_baseline_that_cannot_be_fitted_is_skipped_with_its_reason(data):
    series = data.series
    series.time = series.time.expand(5, -1)  # each node has its own times: no climatology
    results = evaluate_baselines(["persistence", "climatology"], data, data.loader("test"), 2)
    assert "skipped" not in results["persistence"]
    assert "time" in results["climatology"]["skipped"]


def test_baselines_see_the_training_period_alone(data):
    before = evaluate_baselines(["ridge"], data, list(data.loader("test")), 2)
    batches = list(data.loader("test"))
    end = data.train_series.x.shape[1]
    data.series.x[:, end:] = torch.nan
    assert evaluate_baselines(["ridge"], data, batches, 2) == before
