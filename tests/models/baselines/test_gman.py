from __future__ import annotations

import math

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.baselines.gman import GMAN, AttentionBlock
from tests.models.baselines.contract import check_forecaster, graph_batch, series_of, training_losses
from tests.models.baselines.published import parameters_of, settings_of

SMALL = {"num_blocks": 1, "heads": 2, "head_channels": 2}


@pytest.mark.parametrize(
    "options",
    [
        {"num_blocks": 2},
        {"in_channels": 2, "out_channels": 1, "steps_per_cycle": 1},
        {"groups": 4, "num_nodes": 6},
    ],
)
def test_contract(options):
    torch.manual_seed(0)
    defaults = {"in_channels": 1, "input_steps": 12, "horizon": 4, "steps_per_cycle": 288}
    model = GMAN(**{**defaults, **SMALL, **options})
    check_forecaster(model, graph_batch(channels=model.in_channels), equivariant=not model.grouped)


def shaken(model):
    """The model with statistics in its normalisations, as after training."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def mapped(layer, x):
    norm, weight = layer.norm, layer.linear.weight
    y = x @ weight.T + (0.0 if layer.linear.bias is None else layer.linear.bias)
    y = (y - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    return y.clamp(min=0) if layer.rectified else y


def attention_by_loops(layer, query, key, value, causal=False):
    """Attention from ``[L, F]`` to ``[M, F]``, place by place and head by head."""
    query, key, value = mapped(layer.query, query), mapped(layer.key, key), mapped(layer.value, value)
    size = query.shape[1] // layer.heads
    rows = []
    for i in range(len(query)):
        seen = range(i + 1) if causal else range(len(key))
        heads = []
        for h in range(layer.heads):
            part = slice(h * size, (h + 1) * size)
            score = torch.stack([query[i, part] @ key[j, part] / math.sqrt(size) for j in seen]).exp()
            heads.append(sum(s * value[j, part] for s, j in zip(score / score.sum(), seen, strict=True)))
        rows.append(torch.cat(heads))
    return mapped(layer.out, torch.stack(rows))


def block_by_loops(block, x, embedding, parts=None):
    """One block on ``[N, T, D]``; ``parts`` are the groups of nodes."""
    nodes, steps, _ = x.shape
    both = torch.cat([x, embedding], dim=-1)
    spatial, temporal = torch.zeros_like(x), torch.zeros_like(x)
    for t in range(steps):
        for part in parts or [list(range(nodes))]:
            spatial[part, t] = attention_by_loops(block.over_nodes, *[both[part, t]] * 3)
        if parts:
            pooled = torch.stack([spatial[part, t].max(dim=0).values for part in parts])
            between = attention_by_loops(block.over_groups, pooled, pooled, pooled)
            for part, row in zip(parts, between, strict=True):
                spatial[part, t] += row
    for n in range(nodes):
        temporal[n] = attention_by_loops(block.over_time, both[n], both[n], both[n], causal=True)
    gate = torch.sigmoid(mapped(block.gate_nodes, spatial) + mapped(block.gate_time, temporal))
    fused = gate * spatial + (1 - gate) * temporal
    return x + mapped(block.fuse[1], mapped(block.fuse[0], fused))


@torch.no_grad()
@pytest.mark.parametrize("groups", [1, 2])
def test_forecast_is_that_of_the_paper_written_out(groups):
    torch.manual_seed(1)
    model = GMAN(1, 4, 3, num_nodes=5, steps_per_cycle=288, groups=groups, **SMALL)
    batch = graph_batch(windows=2, nodes=5, steps=4, horizon=3)
    shaken(model.fit(series_of(batch)))
    shift = 1_700_000_000_000_000_000 // 300_000_000_000 * 300_000_000_000
    batch.x_time, batch.y_time = batch.x_time + shift, batch.y_time + shift
    forecast, x = model.forward_scaled(batch)[0], model.scaler.transform(batch.x)
    parts = None
    if groups > 1:
        parts = [m[r].tolist() for m, r in zip(model.group_members, model.group_real, strict=True)]
        assert sorted(node for part in parts for node in part) == list(range(5))
        assert sorted(map(len, parts)) == [2, 3]
    b = 1
    (modes,) = model._modes(batch)
    nodes = mapped(model.embed_node[1], mapped(model.embed_node[0], modes))
    embedding = torch.zeros(5, 7, 4)
    for t, time in enumerate(torch.cat([batch.x_time[b], batch.y_time[b]]).tolist()):
        seconds = time // 1_000_000_000
        indicator = torch.zeros(295)
        indicator[(seconds // 86400 + 3) % 7] = 1.0
        indicator[7 + seconds % 86400 // 300] = 1.0
        embedding[:, t] = nodes + mapped(model.embed_time[1], mapped(model.embed_time[0], indicator))
    past, future = embedding[:, :4], embedding[:, 4:]
    hidden = mapped(model.start[1], mapped(model.start[0], x[b]))
    hidden = block_by_loops(model.encoder[0], hidden, past, parts)
    hidden = torch.stack([attention_by_loops(model.transform, future[n], past[n], hidden[n]) for n in range(5)])
    hidden = block_by_loops(model.decoder[0], hidden, future, parts)
    last = model.end[1]
    expected = mapped(model.end[0], hidden) @ last.weight.T + last.bias
    torch.testing.assert_close(forecast[b], expected, rtol=1e-4, atol=1e-5)


def test_modes_describe_the_place_in_the_graph():
    model = GMAN(1, 12, 4, **SMALL)
    batch = graph_batch(nodes=9)
    (modes,) = model._modes(batch)
    torch.testing.assert_close(modes.T @ modes / 9, torch.eye(4), rtol=0, atol=1e-5)
    (few,) = GMAN(1, 12, 4, heads=8, head_channels=2)._modes(batch)
    assert few.shape == (9, 16)
    assert few[:, 9:].eq(0).all()


def test_a_block_looks_at_no_later_step():
    torch.manual_seed(2)
    block = AttentionBlock(4, heads=2).eval()
    x, embedding = torch.randn(1, 3, 5, 4), torch.randn(1, 3, 5, 4)
    changed = x.clone()
    changed[0, 1, 3] += 1
    moved = (block(x, embedding) - block(changed, embedding)).abs().amax(dim=(0, 3)) > 1e-7
    assert moved.tolist() == [[False] * 3 + [True, False], [False] * 3 + [True, True], [False] * 3 + [True, False]]


def test_parameters_are_the_published_ones():
    setting = settings_of("gman")["metr_la"]
    count = parameters_of(GMAN, "metr_la", setting["arguments"])
    # The program that was counted has 2 more: it normalises its output.
    assert count == 817_667 - 2
    assert round(count, -4) == setting["parameters"]


def test_other_settings_can_be_built():
    for dataset, setting in settings_of("gman").items():
        if setting["parameters"] is None:
            assert parameters_of(GMAN, dataset, setting["arguments"]) > 0


def test_training_reduces_the_loss():
    torch.manual_seed(3)
    batch = graph_batch(windows=3, steps=4, horizon=2)
    model = GMAN(1, 4, 2, steps_per_cycle=288, **SMALL).fit(series_of(batch))
    losses = training_losses(model, batch, steps=40, learning_rate=0.02)
    assert losses[-1] < 0.7 * losses[0]


def test_bad_input():
    for options, message in [
        ({"num_blocks": 0}, "num_blocks is 0"),
        ({"heads": 0}, "heads is 0"),
        ({"groups": 0}, "groups is 0"),
        ({"groups": 2}, "num_nodes = None"),
        ({"groups": 7, "num_nodes": 6}, "num_nodes = 6"),
    ]:
        with pytest.raises(InputError, match=message):
            GMAN(1, 12, 4, **options)
    with pytest.raises(InputError, match="edge_index"):
        GMAN(1, 12, 4, **SMALL).predict(torch.zeros(1, 3, 12, 1))
