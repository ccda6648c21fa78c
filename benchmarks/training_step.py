"""The whole training step against a straightforward dense implementation of the reference formulas.

Both have the same weights (the ``reference`` preset reads a checkpoint of the dense one) and minimise the Huber loss
and the regulariser with AdamW and gradient clipping. The neighbours are searched before, in both.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data

from benchmarks import measure
from benchmarks.dense_reference import DenseSpecTraNet
from stgraph.models import SpecTraNet

FACTORIES = {"stgraph": "stgraph_step", "dense": "dense_step"}
#: Nodes, input steps, batch, and how many times faster is aimed at.
CASES = ((207, 12, 32, 4.0), (2500, 3, 8, 5.0), (10000, 3, 1, 5.0))
LARGE = {"nodes": 100_000, "steps": 3, "batch": 1}


def inputs(nodes: int, steps: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates, windows (B, N, P, 1) and targets (B, N, 1, 1)."""
    generator = torch.Generator().manual_seed(0)
    pos = torch.rand(nodes, 2, generator=generator) * 2 - 1
    return (
        pos,
        torch.rand(batch, nodes, steps, 1, generator=generator),
        torch.rand(batch, nodes, 1, 1, generator=generator),
    )


def dense_model(pos: Tensor, steps: int) -> DenseSpecTraNet:
    """The dense implementation; d 128, K 128, k 32, F 16."""
    torch.manual_seed(0)
    return DenseSpecTraNet(1, pos.shape[0], 1, steps, pos)


def stgraph_model(pos: Tensor, steps: int) -> SpecTraNet:
    """The ``reference`` preset with the weights of the dense implementation."""
    # A tiny graph is enough to make the weights: none of them depends on the number of nodes.
    state = dense_model(pos[:40], steps).state_dict()
    content = {"model": state, "cfg": {"NODE_MODE": True}, "min": [0.0], "max": [1.0 - 1e-6]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        torch.save(content, path)
        return SpecTraNet.from_reference_checkpoint(path, pos=pos)


def _training(model: nn.Module, loss_of_step: measure.Step) -> measure.Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of_step()
        assert isinstance(loss, Tensor)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


def stgraph_step(nodes: int, steps: int, batch: int, train: bool = True) -> measure.Step:
    """A training step of the ``reference`` preset."""
    pos, x, y = inputs(nodes, steps, batch)
    model, data = stgraph_model(pos, steps).train(train), Data(x=x, pos=pos)
    model.geometry(data, model.mgat)  # the neighbours, as in the other

    def loss() -> Tensor:
        prediction, regulariser = model.forward_scaled(data)
        return F.huber_loss(prediction, y, delta=0.8) + regulariser

    return _training(model, loss)


def dense_step(nodes: int, steps: int, batch: int, train: bool = True) -> measure.Step:
    """A training step of the dense implementation."""
    pos, x, y = inputs(nodes, steps, batch)
    model = dense_model(pos, steps)
    model.load_state_dict(dense_model(pos[:40], steps).state_dict())
    model.train(train)
    windows, target = x.transpose(1, 2).unsqueeze(2).contiguous(), y.reshape(batch, 1, nodes, 1)

    def loss() -> Tensor:
        prediction, regulariser = model(windows, windows)
        return F.huber_loss(prediction, target, delta=0.8) + regulariser

    return _training(model, loss)


def inference_step(nodes: int, steps: int, batch: int) -> measure.Step:
    """A forecast, with everything it needs made within the step."""

    def step() -> Tensor:
        pos, x, _ = inputs(nodes, steps, batch)
        return stgraph_model(pos, steps).predict(x)

    return step


def main() -> None:
    """Run all cases."""
    args = measure.argument_parser(__doc__).parse_args()
    report = measure.Report("training_step", args.threads, args.results)
    for nodes, steps, batch, faster in CASES:
        sizes = {"nodes": nodes, "steps": steps, "batch": batch}
        case = f"N {nodes}, P {steps}, batch {batch}"
        # Two steps without dropout: the second loss shows that the first gradients were the same.
        ours, dense = (globals()[factory](**sizes, train=False) for factory in FACTORIES.values())
        for turn in ("first", "second"):
            measure.check_equal(f"{case}, {turn} loss", ours(), dense(), 1e-4)
        alternatives = {name: globals()[factory](**sizes) for name, factory in FACTORIES.items()}
        seconds = measure.time_in_turns(alternatives, args.repeats, args.warmup)
        del alternatives, ours, dense
        peak = {name: measure.peak_memory(__file__, f, sizes, args.threads) for name, f in FACTORIES.items()}
        report.compare(case, "stgraph", "dense", seconds, peak, faster=faster, memory=1 / 3)
    peak_bytes = measure.peak_memory(__file__, "inference_step", LARGE, args.threads, repeats=1)
    report.note(f"forecast for N {LARGE['nodes']}, P 3, batch 1: peak {peak_bytes / 2**30:.2f} GiB (aim: within 8 GB)")
    report.finish()


if __name__ == "__main__":
    main()
