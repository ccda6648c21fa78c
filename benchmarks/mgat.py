"""MGAT against PyG's TransformerConv on the same kNN graph: one head, width 128, three edge features, k = 32.

A step is a forward and a backward pass. What the two compute differs (MGAT's logits are anisotropic), so equality is
checked between MGAT's own paths, one of which is PyG's message passing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import TransformerConv

from benchmarks import measure
from stgraph.nn import MGAT
from stgraph.ops.neighbors import knn_graph

CHANNELS, NEIGHBORS, PROTOTYPES = 128, 32, 128
FACTORIES = {"MGAT": "mgat_step", "TransformerConv": "transformer_conv_step"}
#: Nodes, batch, how many times faster, and the share of the peer's memory that is aimed at.
CASES = ((207, 32, 8.0, None), (2500, 8, 6.0, 1 / 3))


def graph(nodes: int) -> tuple[Tensor, Tensor]:
    """A kNN graph of random points and its edge attributes: relative position, scaled, and length."""
    pos = torch.rand(nodes, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    edge_index = knn_graph(pos, NEIGHBORS)
    rel = pos[edge_index[1]] - pos[edge_index[0]]
    return edge_index, torch.cat([rel / rel.abs().amax(0), rel.norm(dim=-1, keepdim=True)], dim=-1)


def features(nodes: int, batch: int) -> tuple[Tensor, Tensor]:
    """Node features and plan rows."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, nodes, CHANNELS, generator=generator)
    return x, torch.randn(batch, nodes, PROTOTYPES, generator=generator).softmax(-1)


def mgat_step(nodes: int, batch: int, path: str = "sampled") -> measure.Step:
    """One training step of MGAT on a static graph with the batch in front."""
    torch.manual_seed(0)
    layer, (edge_index, edge_attr), (x, plan) = MGAT(CHANNELS, path=path), graph(nodes), features(nodes, batch)
    x.requires_grad_()
    layer.eval()  # dropout would make the paths differ

    def step() -> Tensor:
        out = layer(x, edge_index, edge_attr, plan)
        out.sum().backward()
        return out.detach()

    return step


def transformer_conv_step(nodes: int, batch: int) -> measure.Step:
    """One training step of TransformerConv on the flattened batch, the way PyG runs it."""
    layer, (edge_index, edge_attr), (x, _) = (
        TransformerConv(CHANNELS, CHANNELS, edge_dim=3),
        graph(nodes),
        features(nodes, batch),
    )
    edges = torch.cat([edge_index + nodes * b for b in range(batch)], dim=1)
    attributes, flat = edge_attr.repeat(batch, 1), x.flatten(0, 1).requires_grad_()

    def step() -> Tensor:
        out = layer(flat, edges, attributes)
        out.sum().backward()
        return out.detach()

    return step


def main() -> None:
    """Run all cases."""
    args = measure.argument_parser(__doc__).parse_args()
    report = measure.Report("mgat", args.threads, args.results)
    for nodes, batch, faster, memory in CASES:
        sizes = {"nodes": nodes, "batch": batch}
        case = f"N {nodes}, batch {batch}"
        measure.check_equal(case, mgat_step(**sizes)(), mgat_step(**sizes, path="gather")(), 1e-4)
        steps = {name: globals()[factory](**sizes) for name, factory in FACTORIES.items()}
        seconds = measure.time_in_turns(steps, args.repeats, args.warmup)
        peak = {name: measure.peak_memory(__file__, f, sizes, args.threads) for name, f in FACTORIES.items()}
        report.compare(case, "MGAT", "TransformerConv", seconds, peak, faster=faster, memory=memory)
    report.finish()


if __name__ == "__main__":
    main()
