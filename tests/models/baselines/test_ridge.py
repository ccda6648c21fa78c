from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import linear_model
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models import Ridge
from stgraph.models.baselines import ridge

P, Q = 4, 3


def by_scikit_learn(data, windows, alpha, starts=None):
    """Forecasts of all windows by one regression for each node, channel and step."""
    nodes, _, channels = data.x.shape
    train, batch = windows(data, P, Q, starts), windows(data, P, Q)
    mask = data.mask if "mask" in data else torch.ones_like(data.x, dtype=torch.bool)
    forecast = np.zeros(batch.y.shape)
    for n in range(nodes):
        for c in range(channels):
            seen = data.x[n, :, c][mask[n, :, c]].double()
            mean, deviation = seen.mean().item(), seen.std(correction=0).item()

            def columns(part, n=n, c=c, mean=mean, deviation=deviation):
                z = (part.x[:, n, :, c].double().numpy() - mean) / deviation
                if "x_mask" not in part:
                    return z
                known = part.x_mask[:, n, :, c].numpy()
                return np.concatenate([np.where(known, z, 0), ~known], 1)

            for q in range(Q):
                use = train.y_mask[:, n, q, c].numpy() if "y_mask" in train else slice(None)
                model = linear_model.Ridge(alpha, solver="cholesky")
                target = (train.y[:, n, q, c].double().numpy() - mean) / deviation
                model.fit(columns(train)[use], target[use])
                forecast[:, n, q, c] = model.predict(columns(batch)) * deviation + mean
    return forecast


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("block", [1 << 22, 300])
def test_equals_scikit_learn_node_by_node(series, windows, missing, block, monkeypatch):
    monkeypatch.setattr(ridge, "_BLOCK", block)
    data = series(missing=missing)
    model = Ridge(2, P, Q, num_nodes=4, alphas=[3.0]).fit(data)
    ours = model(windows(data, P, Q)).numpy()
    np.testing.assert_allclose(ours, by_scikit_learn(data, windows, 3.0), rtol=1e-5)
    assert model.alpha.item() == 3.0


def test_only_the_given_windows_are_learned(series, windows):
    data, starts = series(), torch.arange(60).flip(0)
    ours = Ridge(2, P, Q, num_nodes=4, alphas=[3.0]).fit(data, starts)(windows(data, P, Q)).numpy()
    np.testing.assert_allclose(ours, by_scikit_learn(data, windows, 3.0, starts), rtol=1e-5)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_penalty_is_the_best_on_the_last_windows(series, windows, missing, seed):
    data = series(nodes=2, steps=70, missing=missing, seed=seed)
    alphas = (0.1, 1.0, 10.0, 100.0, 1000.0)
    count = 70 - P - Q + 1
    first = count - count // 10
    batch = windows(data, P, Q)
    mask = data.mask if missing else torch.ones_like(data.x, dtype=torch.bool)
    x = data.x.double()
    mean = (x * mask).sum(1) / mask.sum(1)
    variance = ((x - mean.unsqueeze(1)).square() * mask).sum(1) / mask.sum(1)
    errors = []
    for alpha in alphas:
        forecast = by_scikit_learn(data, windows, alpha, torch.arange(first - Q + 1))
        error = (torch.from_numpy(forecast) - batch.y).square() / variance.unsqueeze(1)
        known = batch.y_mask if missing else torch.ones_like(batch.y, dtype=torch.bool)
        errors.append((error * known)[first:].sum().item())
    model = Ridge(2, P, Q, num_nodes=2, alphas=alphas).fit(data)
    assert model.alpha.item() == alphas[int(np.argmin(errors))]


def test_intercept_is_not_penalised(series, windows):
    data = series()
    model = Ridge(2, P, Q, num_nodes=4, alphas=[1e12]).fit(data)
    batch = windows(data, P, Q)
    known = batch.y_mask.sum(0)
    mean_target = (batch.y * batch.y_mask).sum(0) / known
    torch.testing.assert_close(model(batch)[7], mean_target, rtol=1e-4, atol=1e-4)


def test_missing_input_of_a_complete_training_series_counts_as_the_mean(series, windows):
    data = series(missing=0)
    model = Ridge(2, P, Q, num_nodes=4).fit(data)
    mask = torch.rand(10, 4, P, 2) < 0.5
    x = windows(data, P, Q).x[:10]
    filled = torch.where(mask, x, data.x.mean(1).unsqueeze(1))
    torch.testing.assert_close(model(Data(x=x * mask, x_mask=mask)), model(Data(x=filled)))


def test_least_data_that_can_be_fitted(series, windows):
    data = series(steps=P + Q, missing=0)
    model = Ridge(2, P, Q, num_nodes=4).fit(data)
    assert model.alpha.item() == 1000.0
    assert model(windows(data, P, Q)).isfinite().all()


def test_bad_arguments_are_refused(series):
    data = series(steps=P + Q - 1)
    with pytest.raises(InputError, match=r"data has 6 steps; expected at least input_steps \+ horizon = 7"):
        Ridge(2, P, Q, num_nodes=4).fit(data)
    data = series(steps=20)
    for starts in ([], [-1], [14]):
        with pytest.raises(InputError, match="expected at least one, all between 0 and 13"):
            Ridge(2, P, Q, num_nodes=4).fit(data, torch.tensor(starts, dtype=torch.long))
    for alphas in ([], [0.0], [-1.0]):
        with pytest.raises(InputError, match="alphas is"):
            Ridge(1, P, Q, num_nodes=1, alphas=alphas)
