from __future__ import annotations

import pickle
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import CheckpointError, InputError, InputTypeError
from stgraph.models import MODELS, SpecTraNet, SpecTraNetOptions, get_model
from stgraph.models.options import TemporalLayer
from stgraph.nn.spectral.sequence import SEQUENCE_LAYERS
from stgraph.nn.spectral.temporal import SpectralTemporal
from stgraph.ops.neighbors import knn_graph

N, P, Q = 7, 6, 3
SMALL = {"d_model": 8, "num_prototypes": 4, "num_neighbors": 3}


def model(channels: int = 2, **options: object) -> SpecTraNet:
    torch.manual_seed(0)
    heads = {} if options.get("preset") == "reference" else {"mgat_heads": 2}
    made = SpecTraNet(channels, P, Q, num_nodes=N, calendar_periods=[24], **{**SMALL, **heads, **options})
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # also those that start at zero
    return made


def batch(channels: int = 2, size: int = 4, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    time = (torch.arange(P) + torch.arange(size).unsqueeze(1) * 5) * 3600 * 10**9
    return Data(
        x=torch.randn(size, N, P, channels, generator=generator),
        x_time=time,
        pos=torch.rand(N, 2, generator=torch.Generator().manual_seed(9)),
        num_nodes=N,
    )


@pytest.mark.parametrize("preset", ["reference", "default"])
@pytest.mark.parametrize("quantiles", [None, [0.1, 0.5, 0.9]])
@pytest.mark.parametrize("out_channels", [1, 2])
def test_shapes_and_gradients(preset: str, quantiles: list[float] | None, out_channels: int) -> None:
    net = model(preset=preset, quantiles=quantiles, out_channels=out_channels).train()
    out, regulariser = net.forward_scaled(batch())
    assert out.shape == (4, N, Q, out_channels, *([3] if quantiles else []))
    (out.sum() + regulariser).backward()
    unused = [name for name, p in net.named_parameters() if p.grad is None]
    assert not unused
    assert net(batch(size=0)).shape[0] == 0


@pytest.mark.parametrize(
    "switch",
    ["use_sfe", "use_tgating", "use_got", "use_mgat", "got_embedding_distance", "residual_to_last", "linear_path"],
)
def test_every_part_can_be_switched_off(switch: str) -> None:
    full, without = model(), model(**{switch: False})
    assert torch.isfinite(without(batch())).all()
    assert without(batch()).shape == full(batch()).shape
    if switch == "use_got":
        assert without.got is None
        assert without.mgat is None
    if switch == "use_mgat":
        assert without.got is not None
        assert without.mgat is None


@pytest.mark.parametrize("preset", ["reference", "default"])
def test_unobserved_inputs_have_no_influence(preset: str) -> None:
    net, data = model(preset=preset).eval(), batch()
    data.x_mask = torch.rand(data.x.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    data.x_mask[:, 1] = False  # a node without any observation
    outputs = []
    for filler in (0.0, 1e6, float("nan")):
        changed = data.clone()
        changed.x = torch.where(data.x_mask, data.x, filler)
        outputs.append(net(changed))
    assert torch.isfinite(outputs[0]).all()
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
    data.x = torch.where(data.x_mask, data.x + 1, data.x)
    assert not torch.equal(outputs[0], net(data))


@pytest.mark.parametrize("preset", ["reference", "default"])
def test_batch_equals_loop_and_nodes_may_be_permuted(preset: str) -> None:
    options = {} if preset == "reference" else {"node_embedding": 0}
    net, data = model(preset=preset, **options).eval(), batch()
    out = net(data)
    for b in range(4):
        one = Data(x=data.x[b : b + 1], x_time=data.x_time[b : b + 1], pos=data.pos)
        torch.testing.assert_close(net(one)[0], out[b], rtol=1e-5, atol=1e-5)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    moved = net(Data(x=data.x[:, order], x_time=data.x_time, pos=data.pos[order]))
    torch.testing.assert_close(moved, out[:, order], rtol=1e-5, atol=1e-5)


def test_coordinates_may_be_moved_and_scaled_in_the_default_preset() -> None:
    net, data = model().eval(), batch()
    out = net(data)
    moved = Data(x=data.x, x_time=data.x_time, pos=data.pos * 1000 - 50)
    torch.testing.assert_close(net(moved), out, rtol=1e-4, atol=1e-4)


def test_given_edges_are_used_and_equal_the_models_own() -> None:
    net, data = model(both_directions=False).eval(), batch()
    out = net(data)
    data.edge_index = knn_graph(data.pos, 3)
    torch.testing.assert_close(net(data), out)
    data.edge_index = knn_graph(data.pos, 1)
    assert not torch.allclose(net(data), out)


def test_absolute_time_matters_in_the_default_preset_only() -> None:
    data = batch()
    training = Data(x=torch.randn(N, 50, 2), time=torch.arange(50) * 3600 * 10**9, pos=data.pos)
    for preset, matters in (("default", True), ("reference", False)):
        net = model(preset=preset).fit(training).eval()
        assert float(net.time_step) == 3600 * 10**9
        later = data.clone()
        later.x_time = data.x_time + 7 * 3600 * 10**9
        assert torch.allclose(net(later), net(data)) != matters
        later.x_time = data.x_time + 24 * 3600 * 10**9
        torch.testing.assert_close(net(later), net(data), rtol=1e-4, atol=1e-5)


def test_quantiles_never_cross_and_point_is_the_median() -> None:
    net = model(quantiles=[0.05, 0.25, 0.5, 0.9]).eval()
    out = net(batch(seed=4))
    assert (out.diff(dim=-1) >= 0).all()
    assert torch.equal(net.point(out), out[..., 2])
    net.quantile_offset.copy_(torch.randn(Q, 2, 4))
    assert (net(batch(seed=4)).diff(dim=-1) >= 0).all()


def test_model_takes_and_gives_data_units_and_needs_nothing_but_its_state() -> None:
    data = batch()
    training = Data(x=1000 + 50 * torch.randn(N, 40, 2), pos=data.pos)
    net = model().fit(training)
    windows = 1000 + 50 * data.x
    out = net.predict(windows, pos=data.pos, time=data.x_time)
    assert 500 < out.mean() < 1500
    assert net.training
    other = model().eval()
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other.predict(windows.numpy(), pos=data.pos.numpy(), time=data.x_time), out)


def test_predict_takes_nan_for_missing() -> None:
    net, data = model().eval(), batch()
    mask = torch.rand(data.x.shape, generator=torch.Generator().manual_seed(3)) < 0.7
    given = net.predict(torch.where(mask, data.x, float("nan")), pos=data.pos)
    torch.testing.assert_close(net.predict(data.x, pos=data.pos, mask=mask), given)


def test_grid_uses_its_own_positions() -> None:
    net = model(node_embedding=0).eval()
    x = torch.randn(2, 6, P, 2)
    rows, cols = torch.meshgrid(torch.linspace(-1, 1, 2), torch.linspace(-1, 1, 3), indexing="ij")
    pos = torch.stack([rows, cols], dim=-1).reshape(-1, 2)
    torch.testing.assert_close(net.predict(x, grid=(2, 3)), net.predict(x, pos=pos, grid=(2, 3)))
    with pytest.raises(InputError, match=r"grid is \(2, 2\); expected a grid of 6 cells"):
        net.predict(x, grid=(2, 2))


def test_fewer_nodes_than_neighbors_and_a_single_node() -> None:
    for nodes in (1, 2, 3):
        net = model(node_embedding=0).eval()
        assert torch.isfinite(net.predict(torch.randn(2, nodes, P, 2), pos=torch.rand(nodes, 2))).all()


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo looks at it between two graphs
def test_compile_of_the_whole_model() -> None:
    net, data = model().eval(), batch()
    compiled = torch.compile(net, backend="aot_eager")
    torch.testing.assert_close(compiled(data), net(data), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype) -> None:
    net, data = model().eval(), batch()
    expected = net(data)
    net, data = net.to(dtype), data.apply(lambda v: v.to(dtype) if v.is_floating_point() else v)
    out = net(data)
    assert out.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float64 else 0.2
    torch.testing.assert_close(out.float(), expected, rtol=tolerance, atol=tolerance)


def test_options_and_registry() -> None:
    assert get_model("spectranet") is SpecTraNet
    assert all(issubclass(get_model(name), torch.nn.Module) for name in MODELS)
    with pytest.raises(InputError, match="did you mean 'spectranet'"):
        get_model("spectrante")
    with pytest.raises(InputTypeError, match="unknown option 'd_modle'; did you mean 'd_model'"):
        model(d_modle=3)
    with pytest.raises(InputError, match="preset is 'fast'"):
        model(preset="fast")
    resolved = SpecTraNetOptions(d_model=16).resolve()
    assert resolved.d_model == 16
    assert resolved.num_neighbors == 32
    assert resolved.resolve() == resolved


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantiles": [0.1, 0.9]}, "0.5 among them"),
        ({"quantiles": [0.5, 0.2]}, "increasing"),
        ({"d_model": 0}, "d_model is 0"),
        ({"num_prototypes": -1}, "num_prototypes is -1"),
        ({"mgat_heads": 3}, "not divisible by heads"),
        ({"scaler": "best"}, "scaler is 'best'"),
        ({"time_reference": "utc"}, "time_reference is 'utc'"),
        ({"out_channels": 5}, "out_channels is 5"),
        ({"got_transport": "exact"}, "transport is 'exact'"),
        ({"got_rho": -1.0}, "rho is -1"),
        ({"got_init": "random"}, "got_init is 'random'"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        model(**options)


@pytest.mark.parametrize("transport", ["balanced", "relaxed", "semi_relaxed"])
def test_transports(transport: str) -> None:
    """Each trains; the mass of the prototypes is what the transport says."""
    net, data = model(got_transport=transport, got_learn_marginal=True), batch()
    net(data).square().mean().backward()
    assert net.got is not None
    assert net.got.marginal_logits is not None
    assert net.got.marginal_logits.grad is not None
    plan = net.got.plan(torch.randn(N, 8), data.pos)
    exact = torch.allclose(plan.mean(dim=0), net.got.marginal_logits.softmax(-1), atol=1e-3)
    assert exact == (transport == "balanced")


def test_reference_keeps_the_row_softmax() -> None:
    assert SpecTraNetOptions(preset="reference").resolve().got_transport == "semi_relaxed"
    assert SpecTraNetOptions().resolve().got_transport != "semi_relaxed"


def test_prototypes_may_start_at_nodes() -> None:
    series = Data(x=torch.randn(N, 20, 2), pos=100 * torch.rand(N, 2), num_nodes=N)
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(SpecTraNet(2, P, Q, num_nodes=N, got_init="k-means++", **SMALL).fit(series))
    place = nets[0].geometry.place(series.pos, N)
    positions = [net.got.prototype_pos.detach().tanh() for net in nets if net.got is not None]
    assert torch.cdist(positions[0], place).min(dim=1).values.max() < 2e-3
    assert torch.equal(positions[0], positions[1])
    assert not torch.equal(positions[0], positions[2])


def test_bad_batches() -> None:
    net, data = model(), batch()
    with pytest.raises(InputError, match=r"batch.x has shape \(4, 7, 5, 2\); expected \(B, N, 6, 2\)"):
        net(Data(x=data.x[:, :, 1:], pos=data.pos))
    with pytest.raises(InputError, match="embedding for each of num_nodes = 7"):
        net(Data(x=data.x[:, :5], pos=data.pos[:5]))
    with pytest.raises(InputError, match="pos has 3 dimensions"):
        net(Data(x=data.x, pos=torch.rand(N, 3)))
    with pytest.raises(InputError, match=r"windows has shape \(4, 7\)"):
        net.predict(torch.zeros(4, 7))
    with pytest.raises(InputError, match=r"pos has shape \(3, 2\)"):
        net.predict(data.x, pos=torch.zeros(3, 2))


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("trapped"),))  # type: ignore[return-value]


def reference_state(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "checkpoint.pt"
    content: dict[str, object] = {"model": {"a": torch.zeros(1)}, "cfg": {}, "min": [0.0], "max": [1.0], **changes}
    torch.save(content, path)
    return path


def test_damaged_and_hostile_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="more than arrays and plain values"):
        SpecTraNet.from_reference_checkpoint(reference_state(tmp_path, extra=Trap()))
    assert not (tmp_path / "trapped").exists()
    (tmp_path / "short.pt").write_bytes(reference_state(tmp_path).read_bytes()[:200])
    (tmp_path / "other.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("short.pt", "other.pt", "list.pt"):
        with pytest.raises(CheckpointError, match=name):
            SpecTraNet.from_reference_checkpoint(tmp_path / name)
    assert not (tmp_path / "trapped").exists()
    with pytest.raises(CheckpointError, match=r"trained with coordinates from 'c\.npy'"):
        SpecTraNet.from_reference_checkpoint(reference_state(tmp_path, cfg={"COORDS_NPY": "c.npy"}))
    with pytest.raises(CheckpointError, match="lacks"):
        SpecTraNet.from_reference_checkpoint(reference_state(tmp_path))


def test_dropout_only_in_training() -> None:
    net, data = model(), batch()
    assert not torch.equal(net.train()(data), net(data))
    assert torch.equal(net.eval()(data), net(data))
    first: Tensor = net(data)
    assert first.requires_grad


def test_known_temporal_layers_are_those_of_the_registry() -> None:
    assert set(get_args(TemporalLayer)) == {"sfe", *SEQUENCE_LAYERS}


@pytest.mark.parametrize("name", sorted(SEQUENCE_LAYERS))
def test_any_sequence_layer_on_the_time_axis(name: str) -> None:
    net, data = model(temporal=name), batch()
    assert net.temporal.sfe is None
    assert isinstance(net.temporal.layer, SpectralTemporal)
    out, regulariser = net.train().forward_scaled(data)
    assert out.shape == (4, N, Q, 2)
    (out.square().sum() + regulariser).backward()
    assert net.temporal.gain.grad.abs() > 0
    again = model(**vars(net.options))
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.eval()(data), net.eval()(data))


def test_the_temporal_layer_can_be_switched_off() -> None:
    without = model(temporal="afno", use_sfe=False)
    assert without.temporal.layer is None
    assert without.temporal.sfe is None


def test_unobserved_inputs_have_no_influence_with_another_temporal_layer() -> None:
    net, data = model(temporal="fno_block").eval(), batch()
    data.x_mask = torch.rand(data.x.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    changed = data.clone()
    changed.x = torch.where(data.x_mask, data.x, 1e6)
    assert torch.equal(net(changed), net(data))


def test_wrong_temporal_layers() -> None:
    with pytest.raises(InputError, match=r"temporal is 'afmo'; expected one of \['sfe', 'fourier'"):
        model(temporal="afmo")
    with pytest.raises(InputError, match="the preset 'reference' has 'sfe' alone"):
        model(preset="reference", temporal="afno")
    assert model(preset="reference", temporal="sfe").temporal.sfe is not None


def trending(steps: int = 200) -> Data:
    noise = torch.randn(N, steps, 2, generator=torch.Generator().manual_seed(0))
    return Data(x=noise + torch.linspace(0, 20, steps).view(1, -1, 1), pos=batch().pos)


def test_the_nonlinear_part_does_not_see_the_level_of_a_series_that_drifts() -> None:
    steady = trending()
    steady.x = steady.x - torch.linspace(0, 20, 200).view(1, -1, 1)
    data = batch()
    raised = Data(x=data.x + 50.0, x_time=data.x_time, pos=data.pos)
    drifting = model(use_tgating=False).fit(trending()).eval()
    assert bool(drifting.drifts)
    with torch.no_grad():
        drifting.lin_path.weight.zero_()  # what is left of the level is the last input
    torch.testing.assert_close(drifting(raised), drifting(data) + 50.0, rtol=1e-4, atol=1e-3)
    level = model(use_tgating=False).fit(steady).eval()
    assert not bool(level.drifts)
    with torch.no_grad():
        level.lin_path.weight.zero_()
    assert not torch.allclose(level(raised), level(data) + 50.0, rtol=1e-2, atol=1e-1)


def test_the_decision_about_drift_is_saved_with_the_model() -> None:
    fitted = model().fit(trending())
    loaded = model()
    loaded.load_state_dict(fitted.state_dict())
    assert bool(loaded.drifts)
    assert model(level="relative").drifts is None
    assert "drifts" not in model(preset="reference").state_dict()


def test_a_fixed_level_overrides_the_decision() -> None:
    data = batch()
    auto, relative = model().fit(trending()).eval(), model(level="relative").fit(trending()).eval()
    torch.testing.assert_close(relative(data), auto(data))
    assert not torch.allclose(model(level="absolute").fit(trending()).eval()(data), auto(data))
    with pytest.raises(InputError, match="level is 'none'"):
        model(level="none")


def test_edges_of_one_direction_are_used_in_both() -> None:
    data = batch()
    data.edge_index = torch.stack([torch.arange(N - 1), torch.arange(1, N)])
    there = model().eval()(data)
    data.edge_index = data.edge_index.flip(0)
    torch.testing.assert_close(model().eval()(data), there)
    assert not torch.allclose(model(both_directions=False).eval()(data), there)


def test_absolute_time_counts_only_where_a_period_is_known() -> None:
    data = batch()
    later = Data(x=data.x, x_time=data.x_time + 7 * 3600 * 10**9, pos=data.pos)
    series = trending()
    series.time = torch.arange(200) * 3600 * 10**9
    daily = model().fit(series).eval()
    assert not torch.allclose(daily(later), daily(data))
    torch.manual_seed(0)
    none = SpecTraNet(2, P, Q, num_nodes=N, mgat_heads=2, **SMALL).fit(series).eval()
    assert torch.equal(none(later), none(data))


def test_nodes_that_training_hardly_observes_have_no_embedding() -> None:
    series = trending()
    series.mask = torch.ones(N, 200, 2, dtype=torch.bool)
    series.mask[0, 90:] = False
    series.mask[1, 110:] = False
    series.x = series.x * series.mask
    net, data = model().fit(series).eval(), batch()
    assert net.well_observed.flatten().tolist() == [0.0] + [1.0] * (N - 1)
    before = net(data)
    with torch.no_grad():
        net.node_embedding[0].weight[0] += 5.0
    assert torch.equal(net(data), before)
    with torch.no_grad():
        net.node_embedding[0].weight[1] += 5.0
    assert not torch.allclose(net(data), before)
    assert net.fit(trending()).well_observed.sum() == N  # fitting again forgets


def test_a_node_without_observation_is_taken_for_the_mean_of_the_others() -> None:
    data = batch()
    data.x_mask = torch.ones_like(data.x, dtype=torch.bool)
    data.x_mask[:, 2] = False
    net = model(mask_input=False).eval()
    filled = Data(x=data.x.clone(), x_time=data.x_time, pos=data.pos)
    others = [i for i in range(N) if i != 2]
    filled.x[:, 2] = data.x[:, others].mean(dim=1)
    # The gating score, which reads values and not their mean, is left out of the comparison.
    net.temporal.tgating.gain = 0.0
    torch.testing.assert_close(net(data), net(filled), rtol=1e-4, atol=1e-5)
