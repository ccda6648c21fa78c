from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders.bidirectional_min_gru import BidirectionalMinGRU
from stgraph.nn.bounded_horizon import BoundedHorizonLoss

STEPS = 15


def small(**options: int | str) -> BidirectionalMinGRU:
    torch.manual_seed(0)
    return BidirectionalMinGRU(6, **options).double()  # type: ignore[arg-type]


def series(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(*shape, 2, dtype=torch.float64, generator=generator)
    return x, 2454833 + torch.rand(*shape, dtype=torch.float64, generator=generator).cumsum(-1)


def test_parameter_count() -> None:
    with torch.device("meta"):
        model = BidirectionalMinGRU(metadata_channels=13)
    assert sum(p.numel() for p in model.parameters()) == 88_938
    assert model.metadata_encoder is not None
    # 13 fields through 128, 128 and 128 to 32 numbers
    assert sum(p.numel() for p in model.metadata_encoder.parameters()) == 38_944


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("horizon", [1, 4])
def test_no_point_sees_itself(cell: str, horizon: int) -> None:
    model = small(cell=cell)
    x, time = series(1, STEPS)
    x.requires_grad_()
    states = model(x, time)
    index = torch.arange(STEPS)
    for mean in model.predict(states, horizon, time):
        for point in range(STEPS):
            (gradient,) = torch.autograd.grad(mean[0, point, 0], x, retain_graph=True)
            seen = (gradient != 0).any(dim=-1)[0]
            assert torch.equal(seen, (index - point).abs() >= horizon)
    (gradient,) = torch.autograd.grad(states["forward_states"][0, 7].sum(), x, retain_graph=True)
    assert torch.equal((gradient != 0).any(dim=-1)[0], index <= 7)
    (gradient,) = torch.autograd.grad(states["backward_states"][0, 7].sum(), x)
    assert torch.equal((gradient != 0).any(dim=-1)[0], index >= 7)


def test_output() -> None:
    model = small()
    x, time = series(2, STEPS)
    output = model(x, time)
    mean, log_variance = model.predict(output, 1, time)
    assert torch.equal(output["reconstructed"], mean)
    assert torch.equal(output["log_variance"], log_variance)
    assert mean.shape == (2, STEPS, 1)
    assert torch.equal(output["encoded"], torch.cat([output["forward_states"], output["backward_states"]], dim=-1))
    # Only differences of times count, and positions stand for missing times.
    torch.testing.assert_close(model(x, time - 2454833)["reconstructed"], mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(model(x)["encoded"], model(x, torch.arange(STEPS))["encoded"])
    assert not torch.allclose(model(x)["reconstructed"], mean)


@pytest.mark.parametrize("horizon", [1, 3, 40])
def test_padding(horizon: int) -> None:
    model = small()
    x, time = series(2, STEPS)
    output = model(x, time)
    longer = torch.cat([x, torch.full((2, 9, 2), torch.nan, dtype=torch.float64)], dim=1)
    later = torch.cat([time, time[:, -1:] + torch.arange(1, 10)], dim=1)
    padding = (torch.arange(STEPS + 9) >= STEPS).expand(2, -1)
    padded = model(longer, later, padding)
    for name, value in output.items():
        torch.testing.assert_close(padded[name][:, :STEPS], value)
    for old, new in zip(
        model.predict(output, horizon, time), model.predict(padded, horizon, later, padding), strict=True
    ):
        torch.testing.assert_close(new[:, :STEPS], old)
        assert (new[:, STEPS:] == 0).all()


def test_skipped_points_in_the_middle_are_as_if_removed() -> None:
    model = small()
    x, time = series(1, STEPS)
    skipped = torch.zeros(1, STEPS, dtype=torch.bool)
    skipped[0, [0, 6, 7]] = True
    kept = ~skipped[0]
    with_gap, without = model(x, time, skipped), model(x[:, kept], time[:, kept])
    for name in ("reconstructed", "encoded"):
        # The prediction at horizon 1 reads the state in the gap, which is that before it.
        torch.testing.assert_close(with_gap[name][:, kept], without[name])


def test_metadata_and_spectra_reach_every_point() -> None:
    model = small(metadata_channels=3, spectral_channels=4)
    x, time = series(2, STEPS)
    metadata = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    spectral = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    states = model(x, time, metadata=metadata, spectral=spectral)["forward_states"]
    for gradient in torch.autograd.grad(states[0, 0].sum(), (metadata, spectral)):
        assert (gradient[0] != 0).all()
        assert (gradient[1] == 0).all()
    with pytest.raises(InputError, match=r"metadata has shape None; expected \(2, 3\)"):
        model(x, time, spectral=spectral)
    with pytest.raises(InputError, match=r"spectral has shape \(2, 3\); expected \(2, 4\)"):
        model(x, time, metadata=metadata, spectral=metadata)
    with pytest.raises(InputTypeError, match=r"metadata has dtype torch.float32"):
        model(x, time, metadata=metadata.float(), spectral=spectral)
    with pytest.raises(InputError, match=r"metadata has shape \(2, 3\); expected None"):
        small()(x, time, metadata=metadata)


def test_a_full_sector_is_finite() -> None:
    torch.manual_seed(0)
    model = BidirectionalMinGRU(8)
    x, time = torch.randn(1, 18_000, 2), torch.arange(18_000, dtype=torch.float64) / 720
    output = model(x, time)
    output["reconstructed"].square().mean().backward()
    assert all(value.isfinite().all() for value in output.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_learns_a_sinusoid() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model, loss = BidirectionalMinGRU(16), BoundedHorizonLoss(4)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    time = torch.arange(48, dtype=torch.float64) / 4
    observed = torch.ones(8, 48, 1, dtype=torch.bool)

    def batch() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        phase = 2 * torch.pi * torch.rand(8, 1, generator=generator)
        clean = (time * 1.5 + phase).sin().float().unsqueeze(-1)
        flux, error = clean + 0.1 * torch.randn(clean.shape, generator=generator), torch.full_like(clean, 0.1)
        return flux, error, model(torch.cat([flux, error], dim=-1), time)

    for _ in range(50):
        flux, error, states = batch()
        optimizer.zero_grad()
        loss(lambda k, s=states: model.predict(s, k, time), flux, observed, error, generator=generator).backward()
        optimizer.step()
    with torch.no_grad():
        flux, error, states = batch()
        for horizon in (1, 2, 4):
            mean, _ = model.predict(states, horizon, time)
            residual = (mean - flux)[:, horizon:-horizon]
            assert residual.square().mean() < 0.5 * flux.var()


def test_bad_input() -> None:
    with pytest.raises(InputError, match="num_layers is 0"):
        small(num_layers=0)
    with pytest.raises(InputError, match="metadata_channels is -1"):
        small(metadata_channels=-1)
    model = small()
    x, time = series(1, STEPS)
    with pytest.raises(InputError, match="horizon is 0"):
        model.predict(model(x, time), 0, time)
    with pytest.raises(InputError, match=r"time has shape \(1, 3\)"):
        model(x, time[:, :3])
