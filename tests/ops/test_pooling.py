from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.pooling import POOLING_MODES, pool_sequence, pooled_channels

LENGTHS = [7, 1, 3, 0, 6]


@pytest.fixture
def sequences() -> tuple[torch.Tensor, torch.Tensor]:
    h = torch.randn(5, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return h, torch.arange(7) >= torch.tensor(LENGTHS).unsqueeze(1)


def by_hand(real: np.ndarray, mode: str) -> np.ndarray:
    """Pool the real positions [n, H] of one row."""
    if mode == "mean":
        return real.mean(0)
    if mode == "final":
        return real[-1]
    if mode == "max":
        return real.max(0)
    n, change = len(real), np.diff(real, axis=0)
    segments = [real[s * n // 4 : -(-(s + 1) * n // 4)].mean(0) for s in range(4)]
    changes = [change.mean(0), change.std(0)] if n > 1 else [0 * real[0]] * 2
    return np.concatenate([real.mean(0), real.std(0), real.max(0), real.min(0), *segments, real[0], real[-1], *changes])


@pytest.mark.parametrize("mode", ["mean", "final", "max", "multiscale"])
def test_equals_the_formula_for_each_row(sequences, mode: str) -> None:
    h, padding = sequences
    pooled = pool_sequence(h, mode, key_padding_mask=padding)
    assert pooled.shape == (5, pooled_channels(mode, 4))
    for row, length in enumerate(LENGTHS):
        expected = by_hand(h[row, :length].numpy(), mode) if length else np.zeros(pooled.shape[1])
        np.testing.assert_allclose(pooled[row], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_padding_never_enters(sequences, mode: str) -> None:
    h, padding = sequences
    pooled = pool_sequence(h, mode, key_padding_mask=padding)
    for junk in (1e9, float("nan"), float("inf")):
        changed = h.masked_fill(padding.unsqueeze(-1), junk)
        assert torch.equal(pool_sequence(changed, mode, key_padding_mask=padding), pooled)
    assert not pooled[3].any()
    if mode != "flatten":
        shorter = pool_sequence(h[[2]][:, :3], mode)
        torch.testing.assert_close(pooled[[2]], shorter, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["mean", "final", "max", "multiscale"])
def test_padding_may_stand_anywhere(sequences, mode: str) -> None:
    h, _ = sequences
    padding = torch.tensor([[True, False, True, False, False, True, False]]).expand(5, -1)
    expected = pool_sequence(h[:, [1, 3, 4, 6]], mode)
    torch.testing.assert_close(pool_sequence(h, mode, key_padding_mask=padding), expected, rtol=1e-12, atol=1e-12)


def test_segments_are_those_of_adaptive_pooling() -> None:
    h = torch.randn(2, 11, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    segments = pool_sequence(h, "multiscale")[:, 12:24].unflatten(1, (4, 3))
    torch.testing.assert_close(segments, F.adaptive_avg_pool1d(h.mT, 4).mT)


def test_the_ends_of_a_bidirectional_recurrence(sequences) -> None:
    h, padding = sequences
    pooled = pool_sequence(h, "final", key_padding_mask=padding, bidirectional=True)
    for row, length in enumerate(LENGTHS):
        if length:
            assert torch.equal(pooled[row], torch.cat([h[row, length - 1, :2], h[row, 0, 2:]]))
    assert not pooled[3].any()


def test_flatten_keeps_every_position(sequences) -> None:
    h, padding = sequences
    flat = pool_sequence(h, "flatten", key_padding_mask=padding)
    assert flat.shape == (5, pooled_channels("flatten", 4, steps=7))
    assert torch.equal(flat.unflatten(1, (7, 4))[~padding], h[~padding])
    assert torch.equal(pool_sequence(h, "flatten"), h.flatten(1))


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_gradients_are_finite_where_nothing_varies(mode: str) -> None:
    h = torch.ones(3, 4, 2, requires_grad=True)
    padding = torch.arange(4) >= torch.tensor([4, 1, 0]).unsqueeze(1)
    pool_sequence(h, mode, key_padding_mask=padding).sum().backward()
    assert torch.isfinite(h.grad).all()
    assert not h.grad[padding].any()


def test_wrong_input_is_named() -> None:
    h = torch.zeros(2, 3, 4)
    with pytest.raises(InputError, match="mode is 'sum'"):
        pool_sequence(h, "sum")
    with pytest.raises(InputError, match="mode is 'sum'"):
        pooled_channels("sum", 4)
    with pytest.raises(InputError, match=r"h has shape \(2, 3\)"):
        pool_sequence(h[..., 0])
    with pytest.raises(InputError, match=r"h has shape \(2, 0, 4\)"):
        pool_sequence(h[:, :0])
    with pytest.raises(InputTypeError, match=r"key_padding_mask is of torch\.float32"):
        pool_sequence(h, key_padding_mask=torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"key_padding_mask has shape \(2, 4\); expected \(2, 3\)"):
        pool_sequence(h, key_padding_mask=torch.zeros(2, 4, dtype=torch.bool))
    with pytest.raises(InputError, match="bidirectional is for mode 'final'"):
        pool_sequence(h, bidirectional=True)
    with pytest.raises(InputError, match="3 channels"):
        pool_sequence(h[..., :3], "final", bidirectional=True)
