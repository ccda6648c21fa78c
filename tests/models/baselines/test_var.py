from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.var import VAR
from tests.models.baselines.closed_form import check_closed_form, series_with_gaps
from tests.models.baselines.published import settings_of


def simulate(steps=3000, seed=0):
    """A stationary vector autoregression of two lags over three nodes, with its coefficients and mean."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.tensor([[0.5, 0.2, 0.0], [0.0, 0.4, -0.3], [0.1, 0.0, 0.3]], dtype=torch.double)
    second = torch.tensor([[-0.2, 0.0, 0.1], [0.1, 0.2, 0.0], [0.0, -0.1, 0.2]], dtype=torch.double)
    level = torch.tensor([10.0, -5.0, 100.0], dtype=torch.double)
    x = torch.zeros(steps, 3, dtype=torch.double)
    noise = torch.randn(steps, 3, dtype=torch.double, generator=generator)
    for t in range(2, steps):
        x[t] = first @ x[t - 1] + second @ x[t - 2] + noise[t]
    return (x + level).T.unsqueeze(-1), first, second, level


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_contract(missing):
    arguments = settings_of("var")["default"]["arguments"]
    check_closed_form(VAR(2, 12, 4, num_nodes=5, out_channels=1, **arguments), missing)
    check_closed_form(VAR(2, 12, 4, num_nodes=5, **{**arguments, "order": 1}), missing)


def test_recovers_known_coefficients(monkeypatch):
    monkeypatch.setattr("stgraph.models.baselines.var._BLOCK", 700)  # many pieces
    x, first, second, _ = simulate()
    model = VAR(1, 2, 1, num_nodes=3, order=2, alpha=1e-6).fit(Data(x=x))
    scale = model.deviation / model.deviation.T  # the standardised coefficients in data units
    estimated = [block.T * scale for block in model.weight[1:].split(3)]
    torch.testing.assert_close(estimated[1], first, rtol=0, atol=0.06)  # the oldest step comes first
    torch.testing.assert_close(estimated[0], second, rtol=0, atol=0.06)


def test_without_noise_the_forecast_is_exact():
    generator = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.double, generator=generator)).Q
    x = torch.ones(200, 4, dtype=torch.double)
    for t in range(1, 200):
        x[t] = turn @ x[t - 1]
    series = x.T.unsqueeze(-1) + 7
    model = VAR(1, 3, 12, num_nodes=4, order=1, alpha=1e-9).fit(Data(x=series[:, :150]))
    torch.testing.assert_close(model(Data(x=series[:, 160:163].unsqueeze(0)))[0], series[:, 163:175])


def test_against_scikit_learn():
    data = series_with_gaps(nodes=3, steps=120, channels=2, missing=0.3)
    data.mask[:, 50:53] = False  # steps at which nothing is observed
    data.x = data.x * data.mask
    p, alpha = 3, 4.0
    model = VAR(2, 5, 4, num_nodes=3, order=p, alpha=alpha).fit(data)
    x, mask = (v.permute(1, 0, 2).flatten(1).numpy() for v in (data.x.double(), data.mask))
    mean = np.array([x[m, i].mean() for i, m in enumerate(mask.T)])
    deviation = np.array([x[m, i].std() for i, m in enumerate(mask.T)])

    def standardise(values, known):
        filled = np.empty_like(values)
        for t in range(len(values)):
            for i in range(values.shape[1]):
                seen = np.flatnonzero(known[:, i])
                before = seen[seen <= t]
                filled[t, i] = values[before[-1] if len(before) else seen[0], i]
        return (filled - mean) / deviation

    z = standardise(x, mask)
    targets = [t for t in range(p, 120) if mask[t].any()]
    assert len(targets) == 117 - 3
    features = np.stack([z[t - p : t].ravel() for t in targets])
    ridge = Ridge(alpha, solver="cholesky").fit(features, z[targets])

    past = standardise(x[60:65], mask[60:65])
    expected = []
    for _ in range(4):
        expected.append(ridge.predict(past[-p:].reshape(1, -1))[0])
        past = np.vstack([past, expected[-1]])
    expected = (np.stack(expected) * deviation + mean).reshape(4, 3, 2).transpose(1, 0, 2)
    batch = Data(x=data.x[None, :, 60:65], x_mask=data.mask[None, :, 60:65])
    np.testing.assert_allclose(model(batch)[0].numpy(), expected, rtol=1e-5)


def test_constant_node():
    x = torch.randn(2, 50, 1, generator=torch.Generator().manual_seed(0))
    x[1] = 3.0
    forecast = VAR(1, 4, 2, num_nodes=2).fit(Data(x=x))(Data(x=x[:, :4].unsqueeze(0)))
    torch.testing.assert_close(forecast[0, 1, :, 0], torch.full((2,), 3.0))


def test_bad_arguments():
    with pytest.raises(InputError, match="order is 5; expected 1 to input_steps = 4"):
        VAR(1, 4, 2, num_nodes=2, order=5)
    with pytest.raises(InputError, match="alpha is 0"):
        VAR(1, 4, 2, num_nodes=2, alpha=0.0)
    with pytest.raises(InputError, match=r"num_nodes is 3834, .* 11503 regressors; expected at most 8192"):
        VAR(1, 12, 12, num_nodes=3834)
    with pytest.raises(InputError, match="data has 3 steps; expected more than order = 3"):
        VAR(1, 4, 2, num_nodes=2).fit(Data(x=torch.randn(2, 3, 1)))
