from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders.min_gru import HierarchicalMinGRU


def small(cell: str = "gru") -> HierarchicalMinGRU:
    torch.manual_seed(0)
    return HierarchicalMinGRU((8, 12, 16), num_recurrent_blocks=1, cell=cell).double()


def irregular(*shape: int) -> torch.Tensor:
    return 2454833 + torch.rand(*shape, dtype=torch.float64).cumsum(-1)


def test_parameter_count() -> None:
    """About 13.4 million, half of the transformer's."""
    with torch.device("meta"):
        model = HierarchicalMinGRU()
    assert sum(p.numel() for p in model.parameters()) == 13_371_905


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("steps", [1, 7, 8, 21])
def test_any_length_and_padding(cell: str, steps: int) -> None:
    model = small(cell)
    x, time = torch.randn(2, steps, 2, dtype=torch.float64), irregular(2, steps)
    plain = model(x, time)
    assert plain["reconstructed"].shape == (2, steps, 1)
    latent = -(-steps // 8)
    assert plain["encoded"].shape == (2, latent, 16)
    longer = torch.full((2, steps + 11, 2), torch.nan, dtype=torch.float64)
    longer[:, :steps] = x
    later = torch.cat([time, irregular(2, 11)], dim=1)
    padding = (torch.arange(steps + 11) >= steps).expand(2, -1)
    padded = model(longer, later, padding)
    torch.testing.assert_close(padded["reconstructed"][:, :steps], plain["reconstructed"])
    torch.testing.assert_close(padded["encoded"][:, :latent], plain["encoded"])
    assert (padded["reconstructed"][:, steps:] == 0).all()
    mask = model.latent_mask(padding, padded["encoded"])
    assert mask is not None
    assert mask[:, latent:].all()
    assert not mask[:, :latent].any()


def test_a_series_of_padding_alone() -> None:
    model = small()
    x = torch.randn(2, 9, 2, dtype=torch.float64)
    padding = torch.tensor([[False] * 9, [True] * 9])
    output = model(x, irregular(2, 9), padding)
    output["reconstructed"].sum().backward()
    assert (output["reconstructed"][1] == 0).all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_every_point_reaches_every_other_and_times_matter() -> None:
    model = small()
    x, time = torch.randn(1, 40, 2, dtype=torch.float64, requires_grad=True), irregular(1, 40)
    output = model(x, time)["reconstructed"]
    for index in (0, 39):
        (gradient,) = torch.autograd.grad(output[0, index, 0], x, retain_graph=True)
        assert (gradient != 0).all()
    torch.testing.assert_close(model(x, time + 1000)["reconstructed"], output)
    assert not torch.allclose(model(x, time * 2)["reconstructed"], output)
    assert not torch.allclose(model(x)["reconstructed"], output)


def test_learns_to_fill_in() -> None:
    torch.manual_seed(0)
    model = HierarchicalMinGRU((16,), num_recurrent_blocks=1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    time = torch.arange(24, dtype=torch.float64)
    target = (2 * torch.pi * torch.rand(8, 1) + time * 0.4).sin().float()
    hidden = torch.arange(24) % 4 == 3
    x = torch.stack([target.masked_fill(hidden, 0), hidden.float().expand(8, -1)], dim=-1)
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model(x, time)["reconstructed"].squeeze(-1) - target)[:, hidden].square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.4 * target[:, hidden].var()


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"encoder_dims is \[7, 8\]; expected even widths"):
        HierarchicalMinGRU((7, 8))
    with pytest.raises(InputError, match="num_recurrent_blocks is 0"):
        HierarchicalMinGRU((8, 8), num_recurrent_blocks=0)
    with pytest.raises(InputError, match="cell is 'rnn'"):
        HierarchicalMinGRU((8, 8), cell="rnn")
    model = small()
    x = torch.zeros(2, 5, 2, dtype=torch.float64)
    with pytest.raises(InputError, match=r"x has shape \(2, 5, 1\)"):
        model(x[..., :1])
    with pytest.raises(InputError, match=r"time has shape \(4,\); expected \(2, 5\)"):
        model(x, torch.arange(4))
    with pytest.raises(InputTypeError, match=r"time has dtype torch.bool"):
        model(x, torch.zeros(2, 5, dtype=torch.bool))
    with pytest.raises(InputError, match=r"key_padding_mask has shape \(2, 4\)"):
        model(x, None, torch.zeros(2, 4, dtype=torch.bool))
