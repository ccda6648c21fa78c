"""The layers of stgraph pass the contract suite that is shipped for layers of users."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from stgraph.nn import GOT, MGAT, SFE, ResidualBlock, TGating
from stgraph.testing import Check, LayerCase, parametrize_with_checks

NODES, CHANNELS = 5, 4


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator)


def random_logits(layer: nn.Module) -> None:
    """Steps and prototypes that begin with equal shares get others."""
    for name, parameter in layer.named_parameters():
        if name.endswith("logits"):
            nn.init.normal_(parameter)


def graph(nodes: int = NODES) -> dict[str, Tensor]:
    """Each node hears of all others but one, at lengths on both sides of the radii of MGAT's scales."""
    target, source = (torch.eye(nodes) + torch.eye(nodes).roll(1, 0) == 0).nonzero().T
    pos = 1.5 * torch.randn(nodes, 2, generator=torch.Generator().manual_seed(0))
    relative = pos[target] - pos[source]
    return {
        "edge_index": torch.stack([source, target]),
        "edge_attr": torch.cat([relative / 3, relative.norm(dim=-1, keepdim=True)], dim=-1),
    }


def sharp_gates(layer: nn.Module) -> None:
    """Gates and metrics that differ from node to node."""
    assert isinstance(layer, MGAT)
    with torch.no_grad():
        layer.lin_gate.weight.mul_(20)


def transport_case(name: str, transport: str = "balanced", **changes: Any) -> LayerCase:
    """A converged plan, since an approximate one depends on what else is in the batch."""
    case = LayerCase(
        name=name,
        make=lambda: GOT(CHANNELS, num_prototypes=3, transport=transport, eps=0.3, tol=1e-12, learn_marginal=True),
        inputs=lambda generator: (
            normal(2, NODES, CHANNELS, generator=generator),
            normal(2, NODES, 2, generator=generator),
        ),
        prepare=random_logits,
        permutation_equivariant=True,
        graph_batch=True,
        dtypes=(torch.float64,),
        skip={"check_gradgradcheck": "torch.cdist has no second derivative"},
    )
    return replace(case, **changes)


def gating_case(name: str, **settings: Any) -> LayerCase:
    return LayerCase(
        name=name,
        make=lambda: TGating(6, **settings),
        inputs=lambda generator: (
            normal(2, NODES, 6, CHANNELS, generator=generator),
            normal(2, NODES, 6, 1, generator=generator),
        ),
        shape=lambda inputs: (*inputs[0].shape[:2], CHANNELS),
        prepare=random_logits,
        token_axis=-3,
        output_token_axis=-2,
        permutation_equivariant=True,
        constant_inputs=(1,),  # the score of the series is a constant
    )


def attention_case(path: str, **changes: Any) -> LayerCase:
    case = LayerCase(
        name=f"MGAT-{path}",
        make=lambda: MGAT(CHANNELS, heads=2, path=path),
        inputs=lambda generator: {
            "x": normal(2, NODES, CHANNELS, generator=generator),
            "plan": normal(2, NODES, 3, generator=generator).softmax(dim=-1),
        },
        keywords=graph(),
        prepare=sharp_gates,
        permutation_equivariant=True,
        graph_batch=True,
    )
    return replace(case, **changes)


TRACED_BEFORE = dict.fromkeys(("check_compile", "check_export"), "done for the case before")
NEEDS_PREPARED = dict.fromkeys(("check_compile", "check_export"), "traced with a prepared graph only: test_mgat.py")
CASES = [
    LayerCase(
        name="ResidualBlock",
        make=lambda: ResidualBlock(CHANNELS),
        inputs=lambda generator: (normal(2, NODES, CHANNELS, generator=generator),),
        permutation_equivariant=True,
    ),
    LayerCase(
        name="SFE",
        make=lambda: SFE(CHANNELS, num_frequencies=3),
        inputs=lambda generator: (normal(2, NODES, 8, CHANNELS, generator=generator),),
        batch_axes=2,
        token_axis=-3,
        permutation_equivariant=True,
    ),
    gating_case("TGating"),
    gating_case("TGating-softmax", normalization="softmax", per_node=True),
    transport_case("GOT"),
    transport_case("GOT-relaxed", "relaxed", skip=transport_case("").skip | TRACED_BEFORE),
    transport_case(
        "GOT-float32",
        make=lambda: GOT(CHANNELS, num_prototypes=3, eps=0.3, tol=1e-5),
        dtypes=(torch.float32, torch.bfloat16),
        tolerances={torch.float32: 1e-3},
        skip=TRACED_BEFORE,
    ),
    attention_case("gather"),
    attention_case("sampled", skip=NEEDS_PREPARED),
]


@parametrize_with_checks(CASES)
def test_contract(case: LayerCase, check: Check) -> None:
    check(case)
