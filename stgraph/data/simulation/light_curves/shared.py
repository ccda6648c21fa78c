"""Stars observed at the same times, in groups that share a trend of the instrument."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Data

from stgraph.data.simulation.light_curves.curves import blocks, concatenate, draw_stars, measure, names_of
from stgraph.data.simulation.light_curves.draws import Bools, Draws, Floats, Ints
from stgraph.data.simulation.light_curves.recipe import Recipe, check_count, check_number
from stgraph.data.simulation.light_curves.sampling import choose, gaps
from stgraph.data.simulation.light_curves.systematics import group_trends, sky_positions
from stgraph.errors import InputError
from stgraph.ops.geodesy import sphere_points
from stgraph.ops.neighbors import knn_graph

__all__ = ["simulate_groups"]

_MAX_GROUP = 1000


def simulate_groups(recipe: Recipe, index: Ints, group_size: int, trend_variance: float) -> Data:
    """The graph that ``simulate_light_curves(..., shared_sampling=True)`` describes."""
    _check(recipe, index, group_size, trend_variance)
    group = index // group_size
    grid = Draws.of(recipe.seed, "grid", np.zeros(1, dtype=np.int64))
    count = grid.integers("points", *recipe.points)
    time = grid.uniform("duration", *recipe.duration) * (np.arange(count[0]) / (count[0] - 1))
    shape = (len(index), len(time))
    flux, flux_error = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    mask = np.empty(shape, dtype=np.bool_)
    metadata = []
    for rows in blocks(len(index)):
        draws = Draws.of(recipe.seed, "curve", index[rows])
        stars = draw_stars(recipe, draws, np.broadcast_to(time, (len(draws), len(time))), np.ones_like(mask[rows]))
        amplitude = np.sqrt(trend_variance) * stars.deviation * draws.uniform("trend share", 0.8, 1.2)
        number, place = np.unique(group[rows], return_inverse=True)
        trend = group_trends(Draws.of(recipe.seed, "group", number), time)[place]
        stars = stars._replace(events=stars.events + amplitude[:, None] * trend)
        name = choose(draws, "sampling", recipe.sampling_shares)
        mask[rows] = gaps(draws, np.broadcast_to(count, len(draws))) | (name == "regular")[:, None]
        flux[rows], flux_error[rows], noise = measure(recipe, draws, stars, mask[rows])
        kept = {"sampling_strategy": name, "trend_amplitude": amplitude, **noise}
        metadata.append(kept | stars.metadata)
    sky = torch.from_numpy(sky_positions(grid, Draws.of(recipe.seed, "curve", index), group))
    pos = sphere_points(sky, radius=1.0)
    return Data(
        x=torch.from_numpy(flux).unsqueeze(-1),
        mask=torch.from_numpy(mask).unsqueeze(-1),
        time=torch.from_numpy(time),
        flux_error=torch.from_numpy(flux_error).unsqueeze(-1),
        sky=sky,
        pos=pos,
        edge_index=knn_graph(pos, group_size - 1),
        node_names=names_of(index),
        metadata={
            **concatenate(metadata),
            "group": group,
            "points": mask.sum(axis=1),
            "duration": _span(time, mask),
        },
    )


def _span(time: Floats, mask: Bools) -> Floats:
    """Time from the first to the last observation of each star."""
    span: Floats = time[len(time) - 1 - mask[:, ::-1].argmax(axis=1)] - time[mask.argmax(axis=1)]
    return span


def _check(recipe: Recipe, index: Ints, group_size: int, trend_variance: float) -> None:
    check_count("group_size", group_size, 2, _MAX_GROUP)
    check_number("trend_variance", trend_variance, 0.0, 1e6)
    if index[0] % group_size or len(index) % group_size:
        raise InputError(
            f"num_curves is {len(index)} and first {index[0]}; expected multiples of group_size, {group_size}, so that "
            "all groups are whole"
        )
    irregular = [name for name in ("variable_cadence", "astronomical") if recipe.sampling_shares[name] > 0]
    if irregular:
        raise InputError(
            f"samplings has {', '.join(irregular)}; with shared_sampling expected only regular and random_gaps"
        )
