"""SFE against a loop over frequencies, forward and backward, and the share of the matrix-product rate it reaches."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor, nn

from benchmarks import measure
from benchmarks.dense_reference import DenseSFE
from stgraph.nn import SFE

CHANNELS, FREQUENCIES = 128, 16
CASES = ((207, 12, 32),)
FACTORIES = {"SFE": "sfe_step", "loop over bins": "loop_step"}


def layers() -> tuple[SFE, nn.Module]:
    """The layer and the loop with the same weights."""
    torch.manual_seed(0)
    ours, loop = SFE(CHANNELS, FREQUENCIES), DenseSFE(CHANNELS, FREQUENCIES)
    state = ours.state_dict()
    renamed = {}
    for i in range(FREQUENCIES):
        for part, layer in (("0", "1"), ("2", "2")):
            renamed[f"sfe_processors.{i}.{part}.weight"] = state[f"weight{layer}"][i]
            renamed[f"sfe_processors.{i}.{part}.bias"] = state[f"bias{layer}"][i]
    for part, layer in (("0", "combine1"), ("2", "combine2")):
        renamed |= {f"combiner.{part}.{name}": state[f"{layer}.{name}"] for name in ("weight", "bias")}
    loop.load_state_dict(renamed)
    return ours, loop


def features(nodes: int, steps: int, batch: int) -> Tensor:
    """Features (B, N, P, d)."""
    return torch.randn(batch, nodes, steps, CHANNELS, generator=torch.Generator().manual_seed(1))


def sfe_step(nodes: int, steps: int, batch: int) -> measure.Step:
    """A step of the layer."""
    layer, h = layers()[0], features(nodes, steps, batch).requires_grad_()

    def step() -> Tensor:
        out = layer(h)
        out.sum().backward()
        return out.detach()

    return step


def loop_step(nodes: int, steps: int, batch: int) -> measure.Step:
    """A step of the loop, on its own layout (B, P, N, d)."""
    layer, h = layers()[1], features(nodes, steps, batch).transpose(1, 2).contiguous().requires_grad_()

    def step() -> Tensor:
        out = h + 0.3 * layer(h).unsqueeze(1)
        out.sum().backward()
        return out.detach().transpose(1, 2)

    return step


def multiplications(nodes: int, steps: int, batch: int) -> float:
    """Multiply-adds of the layer's matrix products in a forward pass."""
    bins = min(FREQUENCIES, steps // 2 + 1)
    imaginary = min(FREQUENCIES, (steps + 1) // 2) - 1
    per_series = CHANNELS**2 * (bins + imaginary + bins + 1) + steps * (bins + imaginary) * CHANNELS
    return float(nodes * batch * per_series + 2 * bins * CHANNELS**3)


def main() -> None:
    """Run all cases."""
    args = measure.argument_parser(__doc__).parse_args()
    report = measure.Report("sfe", args.threads, args.results)
    for nodes, steps, batch in CASES:
        sizes = {"nodes": nodes, "steps": steps, "batch": batch}
        case = f"N {nodes}, P {steps}, batch {batch}, F {FREQUENCIES}"
        alternatives = {name: globals()[factory](**sizes) for name, factory in FACTORIES.items()}
        measure.check_equal(case, alternatives["SFE"](), alternatives["loop over bins"](), 1e-5)
        seconds = measure.time_in_turns(alternatives, args.repeats, args.warmup)
        peak = {name: measure.peak_memory(__file__, f, sizes, args.threads) for name, f in FACTORIES.items()}
        report.compare(case, "SFE", "loop over bins", seconds, peak, faster=3.0)
        rate = measure.matmul_rate(nodes * batch, CHANNELS, CHANNELS)
        reached = 3 * 2e-9 * multiplications(**sizes) / statistics.median(seconds["SFE"])
        report.note(
            f"{case}: {reached:.0f} GFLOP/s in matrix products (a backward pass counts twice a forward one), "
            f"{reached / rate:.0%} of the {rate:.0f} GFLOP/s that one product of these sizes reaches here"
        )
    report.finish()


if __name__ == "__main__":
    main()
