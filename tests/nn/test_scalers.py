from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from stgraph.errors import InputError
from stgraph.nn import make_scaler
from stgraph.nn.scalers import SCALERS


def series(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(4, 30, 2, generator=generator) * torch.tensor([3.0, 200.0]) + torch.tensor([0.0, 1000.0])
    return x, torch.rand(4, 30, 2, generator=generator) < 0.6


@pytest.mark.parametrize("name", sorted(SCALERS))
@pytest.mark.parametrize("per", ["channel", "node"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_inverse_undoes_transform_and_unobserved_values_never_enter(name: str, per: str, seed: int) -> None:
    x, mask = series(seed)
    mask[:, 0] = True
    scaler = make_scaler(name, 2, 4, per).fit(x, mask)
    torch.testing.assert_close(scaler.inverse(scaler.transform(x)), x, rtol=1e-5, atol=1e-3)
    other = make_scaler(name, 2, 4, per).fit(torch.where(mask, x, float("nan")), mask)
    torch.testing.assert_close(other.state_dict(), scaler.state_dict())
    first = scaler.transform(x)[..., :1]
    torch.testing.assert_close(scaler.inverse(first), x[..., :1], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "peer"), [("min_max", MinMaxScaler()), ("standard", StandardScaler()), ("robust", RobustScaler())]
)
def test_equals_scikit_learn(name: str, peer: MinMaxScaler) -> None:
    x, mask = series()
    table = torch.where(mask, x, float("nan")).reshape(-1, 2).double().numpy()
    expected = peer.fit(table).transform(x.reshape(-1, 2).double().numpy())
    ours = make_scaler(name, 2).double().fit(x.double(), mask).transform(x.double()).reshape(-1, 2)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_log_scaler_standardises_logarithms() -> None:
    x = torch.expm1(torch.tensor([[[1.0], [2.0], [3.0]]]))
    out = make_scaler("log1p", 1).fit(x).transform(x).flatten()
    torch.testing.assert_close(out, torch.tensor([-1.0, 0.0, 1.0]) * 1.5**0.5, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="needs values above -1"):
        make_scaler("log1p", 1).fit(torch.tensor([[[-2.0], [1.0]]]))


def test_constant_channels_and_unobserved_nodes() -> None:
    x, mask = series()
    x[..., 1] = 5e4
    mask[2] = False
    for name in ("min_max", "standard", "robust"):
        scaler = make_scaler(name, 2, 4, "node").fit(x, mask)
        assert scaler.transform(x).isfinite().all()
        torch.testing.assert_close(scaler.transform(x)[..., 1], torch.zeros(4, 30))
        pooled = make_scaler(name, 2).fit(x, mask)
        torch.testing.assert_close(scaler.center[2], pooled.center[0])


def test_bad_input() -> None:
    x, mask = series()
    mask[..., 1] = False
    with pytest.raises(InputError, match=r"channels \[1\] have no observed value"):
        make_scaler("standard", 2).fit(x, mask)
    with pytest.raises(InputError, match=r"x has shape \(4, 30, 2\); expected \(N, T, 3\)"):
        make_scaler("standard", 3).fit(x)
    with pytest.raises(InputError, match="num_nodes = 3"):
        make_scaler("standard", 2, 3, "node").fit(x)
    with pytest.raises(InputError, match="scaler is 'zscore'"):
        make_scaler("zscore", 2)
    with pytest.raises(InputError, match="per is 'row'"):
        make_scaler("standard", 2, per="row")
    with pytest.raises(InputError, match="num_nodes is None"):
        make_scaler("standard", 2, per="node")
