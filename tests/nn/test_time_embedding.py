from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.nn import PeriodicTimeEmbedding


def test_width_is_divided_and_periods_hold() -> None:
    layer = PeriodicTimeEmbedding(8, periods=[24, 168, 8766])
    assert [part[0].out_features for part in layer.parts] == [3, 3, 2]
    t = torch.arange(5, dtype=torch.float64) + 10**9  # an absolute time that float32 could not hold
    out = layer(t)
    assert out.shape == (5, 8)
    torch.testing.assert_close(layer(t + 24)[:, :3], out[:, :3])
    assert not torch.allclose(layer(t + 1)[:, :3], out[:, :3])
    assert layer(t.reshape(5, 1)[:0]).shape == (0, 1, 8)


def test_is_the_formula() -> None:
    layer = PeriodicTimeEmbedding(4, periods=[10])
    angle = 2 * torch.pi * torch.arange(3) / 10
    torch.testing.assert_close(layer(torch.arange(3)), layer.parts[0](torch.stack([angle.sin(), angle.cos()], dim=-1)))


def test_bad_input_and_repr() -> None:
    for arguments, message in (((8, []), "at least one"), ((8, [0]), "positive"), ((1, [2, 3]), "channels is 1")):
        with pytest.raises(InputError, match=message):
            PeriodicTimeEmbedding(*arguments)
    layer = PeriodicTimeEmbedding(4, periods=[10])
    assert "periods=[10.0]" in repr(layer)
    before = layer.parts[0][0].weight.clone()
    layer.reset_parameters()
    assert not torch.equal(before, layer.parts[0][0].weight)


def test_harmonics_are_the_formula_as_far_as_steps_resolve_them() -> None:
    layer = PeriodicTimeEmbedding(4, periods=[24, 4], harmonics=3)
    assert [part[0].in_features for part in layer.parts] == [6, 4]
    t = torch.arange(7)
    order = torch.arange(1, 4)
    angle = 2 * torch.pi * t.unsqueeze(-1) * order / 24
    expected = layer.parts[0](torch.cat([angle.sin(), angle.cos()], dim=-1))
    torch.testing.assert_close(layer(t)[:, :2], expected)
    torch.testing.assert_close(layer(t + 24), layer(t), rtol=1e-4, atol=1e-6)
    assert PeriodicTimeEmbedding(4, periods=[1.5], harmonics=5).parts[0][0].in_features == 2  # one at least
    with pytest.raises(InputError, match="harmonics is 0"):
        PeriodicTimeEmbedding(4, periods=[10], harmonics=0)
