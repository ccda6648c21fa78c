from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from torch import Tensor
from torchmetrics import Metric

from stgraph.errors import InputError, InputTypeError
from stgraph.metrics import GaussianMetrics, ReconstructionMetrics, gaussian_scores, reconstruction_errors
from stgraph.metrics.gaussian import COVERAGE_LEVELS

Example = dict[str, Tensor]
MEASURES = {"count", "mse", "mae", "rmse", "r2", "correlation", "chi2", "reduced_chi2"}


@pytest.fixture
def example() -> Example:
    """Seven series of 30 points and 2 channels about a large mean, with padding, gaps and unknown errors."""
    rng = np.random.default_rng(0)
    target = rng.normal(size=(7, 30, 2)) + 1e6  # the measures must not lose their digits on the way
    prediction = target + 0.5 * rng.normal(size=target.shape)
    observed = rng.random(target.shape) < 0.8
    observed[:, 25:] = False
    hidden = rng.random(target.shape) < 0.4
    error = rng.uniform(0.2, 1.0, target.shape)
    error[0] = np.nan
    error[1, ::3] = 0.0
    prediction[~observed] = np.nan
    target[2, 3:5] = np.nan
    values = {"prediction": prediction, "target": target, "observed": observed, "hidden": hidden, "error": error}
    return {name: torch.from_numpy(value) for name, value in values.items()}


def part_of(example: Example, part: str, series: slice = slice(None)) -> tuple[np.ndarray, ...]:
    real = example["observed"] & ~example["target"].isnan()
    used = {"hidden": real & example["hidden"], "visible": real & ~example["hidden"], "all": real}[part]
    return tuple(example[name][series][used[series]].numpy() for name in ("prediction", "target", "error"))


def expected_measures(p: np.ndarray, y: np.ndarray, error: np.ndarray) -> dict[str, float]:
    known = error > 0
    chi2 = float((((p - y)[known] / error[known]) ** 2).sum()) if known.any() else np.nan
    return {
        "count": len(y),
        "mse": mean_squared_error(y, p),
        "mae": mean_absolute_error(y, p),
        "rmse": mean_squared_error(y, p) ** 0.5,
        "r2": r2_score(y, p),
        "correlation": stats.pearsonr(y, p).statistic,
        "chi2": chi2,
        "reduced_chi2": chi2 / known.sum() if known.any() else np.nan,
    }


def arguments(example: Example, series: slice = slice(None)) -> list[Tensor]:
    return [example[name][series] for name in ("prediction", "target", "observed", "hidden", "error")]


@pytest.mark.parametrize("part", ["hidden", "visible", "all"])
def test_measures_are_those_of_scikit_learn_and_scipy(example: Example, part: str) -> None:
    metric = ReconstructionMetrics()
    for batch in (slice(0, 3), slice(3, 7), slice(7, 7)):
        metric.update(*arguments(example, batch))
    result, rows = metric.compute(), reconstruction_errors(*arguments(example))
    assert {name.removeprefix(f"{part}_") for name in result if name.startswith(part)} == MEASURES
    for name, value in expected_measures(*part_of(example, part)).items():
        assert float(result[f"{part}_{name}"]) == pytest.approx(value, rel=1e-8), name
    for i in range(7):
        for name, value in expected_measures(*part_of(example, part, slice(i, i + 1))).items():
            assert float(rows[f"{part}_{name}"][i]) == pytest.approx(value, rel=1e-8, nan_ok=True), (name, i)


def synchronised(make: Callable[[], Metric], fill: Callable[[Metric, slice], None]) -> dict[str, Tensor]:
    """What the first of two processes computes after the states of both are gathered."""
    parts = [make(), make()]
    for metric, series in zip(parts, (slice(0, 5), slice(5, 7)), strict=True):
        fill(metric, series)
    first, second = parts
    states = iter([getattr(second, name) for name in second._reductions])
    first.dist_sync_fn = lambda state, group=None: [state, next(states)]
    first.distributed_available_fn = lambda: True
    result: dict[str, Tensor] = first.compute()
    return result


def test_two_processes_give_the_result_of_one(example: Example) -> None:
    for make, names in (
        (ReconstructionMetrics, ("prediction", "target", "observed", "hidden", "error")),
        (GaussianMetrics, ("prediction", "error", "target", "observed", "hidden")),
    ):
        example["error"] = example["error"].nan_to_num(1.0)

        def fill(metric: Metric, series: slice, names: tuple[str, ...] = names) -> None:
            metric.update(*(example[name][series] for name in names))

        whole = make()
        fill(whole, slice(None))
        torch.testing.assert_close(synchronised(make, fill), whole.compute(), rtol=1e-10, atol=0)


def test_forward_gives_the_batch_and_keeps_the_whole(example: Example) -> None:
    metric, whole = ReconstructionMetrics(), ReconstructionMetrics()
    whole.update(*arguments(example))
    batch = metric(*arguments(example, slice(0, 4)))
    metric(*arguments(example, slice(4, 7)))
    assert float(batch["all_mse"]) == pytest.approx(mean_squared_error(*part_of(example, "all", slice(0, 4))[:2]))
    torch.testing.assert_close(metric.compute(), whole.compute(), rtol=1e-10, atol=0, equal_nan=True)


def test_points_weigh_the_same_in_batches_of_different_size() -> None:
    metric = ReconstructionMetrics()
    for size, error in ((1, 3.0), (9, 1.0)):
        real = torch.ones(1, size, dtype=torch.bool)
        metric.update(torch.full((1, size), error), torch.zeros(1, size), real, real)
    assert float(metric.compute()["hidden_mae"]) == pytest.approx(1.2)


def test_nan_where_nothing_can_be_said() -> None:
    real = torch.tensor([[True, True, True]])
    constant = torch.full((1, 3), 0.1, dtype=torch.float64)
    result = reconstruction_errors(constant + torch.arange(3), constant, real, real)
    assert result["hidden_mse"].tolist() == pytest.approx([5 / 3])
    for name in ("hidden_r2", "hidden_correlation", "hidden_chi2", "hidden_reduced_chi2", "visible_mse", "visible_r2"):
        assert result[name].isnan().all(), name
    assert result["visible_count"].tolist() == [0]
    empty = ReconstructionMetrics()
    empty.update(constant[:0], constant[:0], real[:0], real[:0])
    assert all(value.isnan() for name, value in empty.compute().items() if "count" not in name)


def test_a_failed_prediction_shows_in_its_part_alone() -> None:
    hidden = torch.tensor([[True, False, False]])
    prediction = torch.tensor([[float("nan"), 1.0, 2.0]])
    result = reconstruction_errors(prediction, torch.zeros(1, 3), torch.ones(1, 3) > 0, hidden)
    assert result["hidden_mse"].isnan().all()
    assert result["visible_mse"].tolist() == [2.5]
    assert result["all_mse"].isnan().all()


def test_gaussian_scores_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    mean, log_variance, target = rng.normal(size=(3, 4, 6))
    real = torch.ones(4, 6, dtype=torch.bool)
    hidden = torch.arange(6).expand(4, 6) < torch.arange(1, 5).unsqueeze(-1)
    scores = gaussian_scores(*map(torch.from_numpy, (mean, log_variance, target)), real, hidden)
    normal = stats.norm(mean, np.exp(log_variance / 2))
    crps = np.vectorize(
        lambda m, s, y: (
            integrate.quad(lambda x: stats.norm.cdf(x, m, s) ** 2, -np.inf, y)[0]
            + integrate.quad(lambda x: stats.norm.sf(x, m, s) ** 2, y, np.inf)[0]
        )
    )(mean, normal.std(), target)
    expected = {"nll": -normal.logpdf(target), "crps": crps}
    for level in COVERAGE_LEVELS:
        low, high = normal.interval(level)
        expected[f"coverage_{level:g}"] = (low <= target) & (target <= high)
    for name, value in expected.items():
        mask = hidden.numpy()
        np.testing.assert_allclose(scores[f"hidden_{name}"], np.average(value, 1, mask), rtol=1e-6)
        np.testing.assert_allclose(scores[f"visible_{name}"], np.average(value, 1, ~mask), rtol=1e-6)
        np.testing.assert_allclose(scores[f"all_{name}"], np.average(value, 1), rtol=1e-6)


def test_coverage_of_a_true_gaussian_is_nominal_and_of_a_narrow_one_is_less() -> None:
    generator = torch.Generator().manual_seed(0)
    target = 3 * torch.randn(50, 400, generator=generator)
    real, mean = torch.ones(50, 400, dtype=torch.bool), torch.zeros(50, 400)
    values = {}
    for width in (3.0, 1.5):
        metric = GaussianMetrics()
        log_variance = torch.full_like(mean, 2 * np.log(width))
        for rows in torch.arange(50).split(20):
            metric.update(mean[rows], log_variance[rows], target[rows], real[rows], real[rows])
        values[width] = metric.compute()
    for level in COVERAGE_LEVELS:
        assert float(values[3.0][f"hidden_coverage_{level:g}"]) == pytest.approx(level, abs=0.015)
        narrow = 2 * stats.norm.cdf(stats.norm.ppf((1 + level) / 2) / 2) - 1
        assert float(values[1.5][f"hidden_coverage_{level:g}"]) == pytest.approx(narrow, abs=0.015)
    for name in ("hidden_nll", "hidden_crps"):
        assert values[3.0][name] < values[1.5][name]
    assert values[3.0]["visible_nll"].isnan()


def test_what_holds_at_padding_has_no_influence() -> None:
    real = torch.tensor([[True, True, False]])
    for padding in (0.0, float("nan"), 1e30):
        mean, target = torch.tensor([[1.0, 2.0, padding]]), torch.tensor([[1.5, 2.5, padding]])
        scores = gaussian_scores(mean, mean, target, real, real)
        errors = reconstruction_errors(mean, target, real, real, mean)
        assert scores["all_coverage_0.5"].tolist() == [1.0]
        assert errors["all_chi2"].tolist() == pytest.approx([0.25 + 0.0625])


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda x, m: reconstruction_errors(x[0, 0], x[0, 0], m[0, 0], m[0, 0]), InputError, "target is a scalar"),
        (lambda x, m: reconstruction_errors(x[:1], x, m, m), InputError, "prediction has shape"),
        (lambda x, m: reconstruction_errors(x, x, m[:1], m), InputError, "observed_mask has shape"),
        (lambda x, m: reconstruction_errors(x, x, m, m[:1]), InputError, "hidden_mask has shape"),
        (lambda x, m: reconstruction_errors(x, x, m, m, x[:1]), InputError, "error has shape"),
        (lambda x, m: reconstruction_errors(x, x, x, m), InputTypeError, "observed_mask is of type"),
        (lambda x, m: gaussian_scores(x, x[:1], x, m, m), InputError, "log_variance has shape"),
        (lambda x, m: gaussian_scores(x, x, x, m, m, levels=[1.0]), InputError, "levels is"),
        (lambda x, m: GaussianMetrics(levels=[0.5, 0.5]), InputError, "levels is"),
    ],
)
def test_wrong_input_is_named(call: Callable[[Tensor, Tensor], object], error: type[Exception], name: str) -> None:
    with pytest.raises(error, match=name):
        call(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool))
