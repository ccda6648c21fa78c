"""A training step of every network, in units of STID's, beside what was published.

METR-LA's size: 207 nodes, 12 steps in, 12 out, batches of 16 windows; forward, mean absolute error, backward and AdamW.
The published relations are those of seconds per epoch in one source on a GPU, with its own programs.
"""

from __future__ import annotations

import inspect
import statistics

import torch
from torch import Tensor
from torch_geometric.data import Data

from benchmarks import measure
from stgraph.data import KNNGraph
from stgraph.models import get_model
from stgraph.tasks.benchmark.published_results import published_results

NODES, STEPS, HORIZON, BATCH = 207, 12, 12, 16
FIVE_MINUTES = 300 * 10**9
DAY = 288
NETWORKS = (
    "dlinear",
    "spectranet",
    "gatv2_gru",
    "tcn",
    "lstm",
    "stgcn",
    "mtgnn",
    "agcrn",
    "graph_wavenet",
    "dcrnn",
    "d2stgnn",
    "staeformer",
    "gman",
)
#: How many times STID's step the step of SpecTra-Net may take.
AIM = 3.0


def series() -> Data:
    """Random values on a graph with 7 neighbours a node, about as many as METR-LA has."""
    generator = torch.Generator().manual_seed(0)
    data = Data(
        x=torch.randn(NODES, 600, 1, generator=generator),
        pos=torch.rand(NODES, 2, generator=generator),
        time=torch.arange(600) * FIVE_MINUTES,
    )
    connected: Data = KNNGraph(7)(data)
    return connected


def batch_of(data: Data) -> Data:
    """The first windows of the series."""
    index = torch.arange(BATCH).unsqueeze(1) + torch.arange(STEPS + HORIZON)
    windows, time = data.x[:, index].transpose(0, 1), data.time[index]
    graph = {name: data[name] for name in ("pos", "edge_index", "edge_attr")}
    return Data(
        x=windows[:, :, :STEPS],
        y=windows[:, :, STEPS:],
        x_time=time[:, :STEPS],
        y_time=time[:, STEPS:],
        num_nodes=NODES,
        **graph,
    )


def training_step(name: str) -> tuple[measure.Step, int]:
    """A training step of a model at its defaults, and the number of its parameters."""
    torch.manual_seed(0)
    data, kind = series(), get_model(name)
    known = inspect.signature(kind).parameters
    of_data = {"steps_per_cycle": DAY, "calendar_periods": [float(DAY)], "pos_dim": 2}
    model = kind(1, STEPS, HORIZON, num_nodes=NODES, **{k: v for k, v in of_data.items() if k in known})
    model.fit(data).train()
    batch = batch_of(data)
    target = model.scaler.transform(batch.y)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        prediction, regulariser = model.forward_scaled(batch)
        loss = (prediction - target).abs().mean() + regulariser
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, sum(p.numel() for p in model.parameters())


def main() -> None:
    """Measure every network in turns with STID."""
    args = measure.argument_parser(__doc__).parse_args()
    report = measure.Report(f"forecaster_cost_{args.threads}_threads", args.threads, args.results)
    published = published_results("metr_la")
    assert published is not None
    reference, parameters = training_step("stid")
    costs = {row.model: published.relative_cost(row) for row in published.rows if row.source.letter == "A"}
    counts = {row.model: row.parameters for row in published.rows if row.source.letter == "A"}
    header = ["network", "parameters", "published", "ms a step", "of STID's", "published"]
    rows = [["stid", str(parameters), _shown(counts.get("stid"), ".0f"), "", "1.00", "1.00"]]
    for name in NETWORKS:
        step, parameters = training_step(name)
        seconds = measure.time_in_turns({name: step, "stid": reference}, args.repeats, args.warmup)
        own, stid = (statistics.median(seconds[key]) for key in (name, "stid"))
        report.records.append({"network": name, "parameters": parameters, "seconds": seconds, "of_stid": own / stid})
        cells = [name, str(parameters), _shown(counts.get(name), ".0f"), f"{1e3 * own:.0f}", f"{own / stid:.2f}"]
        rows.append([*cells, _shown(costs.get(name), ".2f")])
        print("  ".join(rows[-1]), flush=True)
        if name == "spectranet":
            reached = "reached" if own / stid <= AIM else "MISSED"
            report.note(f"SpecTra-Net's step takes {own / stid:.2f} of STID's (aim: at most {AIM:g}): {reached}")
    report.note(measure.format_table([header, *rows]))
    report.note("published: parameters and seconds per epoch of STGym's re-run, METR-LA")
    report.finish()


def _shown(value: float | None, pattern: str) -> str:
    return "" if value is None else format(value, pattern)


if __name__ == "__main__":
    main()
