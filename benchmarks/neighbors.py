"""The engines of ``knn_graph`` on points of several numbers and dimensions: which is fastest where, with equal edges.

``auto`` shows what the choice of an engine makes of it. Engines that are not installed are left out, and so is the
distance matrix where it would take minutes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks import measure
from stgraph.ops.neighbors import grid_stencil, installed_engines, knn_graph

NEIGHBORS = 32
#: Kind of points, how many, and of how many dimensions.
CASES = (
    ("uniform", 70, 2),
    ("uniform", 207, 2),
    ("uniform", 1000, 2),
    ("uniform", 2500, 2),
    ("uniform", 10000, 2),
    ("uniform", 100000, 2),
    ("uniform", 2500, 3),
    ("uniform", 2500, 8),
    ("uniform", 2500, 16),
    ("uniform", 2500, 64),
    ("lattice", 2500, 2),
    ("lattice", 10000, 2),
)
DENSE_LIMIT = 10000


def points(kind: str, count: int, dimensions: int) -> Tensor:
    """Random points, or the cells of a square grid, where many distances are equal."""
    if kind == "lattice":
        side = torch.arange(round(count**0.5))
        return torch.cartesian_prod(side, side).float()
    return torch.rand(count, dimensions, generator=torch.Generator().manual_seed(0))


def search(engine: str, kind: str, count: int, dimensions: int) -> measure.Step:
    """One search of all neighbours."""
    pos = points(kind, count, dimensions)
    if engine == "stencil":
        side = round(count**0.5)
        return lambda: grid_stencil(side, side, NEIGHBORS)
    return lambda: knn_graph(pos, NEIGHBORS, engine=engine)


def main() -> None:
    """Run all cases."""
    args = measure.argument_parser(__doc__).parse_args()
    report = measure.Report("neighbors", args.threads, args.results)
    report.note(f"k = {NEIGHBORS}; engines installed: {', '.join(installed_engines())}")
    for kind, count, dimensions in CASES:
        engines = ["auto", *installed_engines(), *(["stencil"] if kind == "lattice" else [])]
        if count > DENSE_LIMIT:
            engines.remove("dense")
        sizes = {"kind": kind, "count": count, "dimensions": dimensions}
        case = f"{kind}, N {count}, D {dimensions}"
        steps = {engine: search(engine, **sizes) for engine in engines}
        edges = steps["auto"]()
        for engine, step in steps.items():
            if not torch.equal(step(), edges):
                raise AssertionError(f"{case}: the edges of {engine} differ from those of auto")
        seconds = measure.time_in_turns(steps, args.repeats, args.warmup)
        for engine in engines[1:]:
            report.compare(case, "auto", engine, seconds)
    report.finish()


if __name__ == "__main__":
    main()
