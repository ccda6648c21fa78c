"""Events with known place and kind in the series of sensors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch_geometric.data import Data

from stgraph.data.simulation.anomalies.choices import check_kinds, choose_nodes, deal
from stgraph.data.simulation.anomalies.events import change, locate
from stgraph.data.simulation.anomalies.inject import good_points
from stgraph.data.simulation.light_curves.draws import Bools, Draws, Floats, Ints
from stgraph.data.simulation.light_curves.recipe import check_count

__all__ = ["SERIES_ANOMALIES", "inject_series"]

#: All kinds that :func:`inject_series` knows.
SERIES_ANOMALIES = ("spike", "drift", "stuck", "swapped")


def inject_series(
    data: Data,
    kinds: Sequence[str] = SERIES_ANOMALIES,
    fraction: float = 0.1,
    seed: int = 0,
    *,
    count: int = 1,
    first_step: int = 0,
) -> Data:
    r"""Return a copy of a network of sensors, or a grid, some of whose series have events of known kind and place.

    ``round(fraction * N)`` nodes get ``count`` events each, which do not overlap. Every kind is dealt equally often, up
    to one. An event is in one channel. With the robust standard deviation (1.4826 times the median absolute deviation)
    of the series :math:`\sigma` and of its changes from step to step :math:`\sigma_1`, the kinds are:

    =============  ==================================================================================================
    kind           what happens
    =============  ==================================================================================================
    ``"spike"``    1--3 steps are shifted by 3--8 times the larger of :math:`\sigma_1` and :math:`\sigma / 3`: more than
                   the series usually moves in a step, and a standard deviation at least, but often within its range
    ``"drift"``    a deviation that grows linearly to 1--3 :math:`\sigma`
    ``"stuck"``    the series stays at its last value; where it changes most often
    ``"swapped"``  the series of two nodes change places: two events, at the same steps; only
                   steps at which both are observed change
    =============  ==================================================================================================

    Drifts, stuck and swapped stretches last 2--10 % of the steps, 3 at least. Spikes and drifts go up or down, but up
    where the series would fall below the lowest value it ever has. Stretches lie where the most steps are observed.
    Steps that are not observed do not change; the mask stays as it is.

    Args:
        data: Network of sensors. Without ``mask``, all finite values are observed.
        kinds: Kinds of events. The last of an odd number of nodes that should be
            swapped gets another kind, or no event if there is none.
        fraction: Share of all nodes that get events, more than 0 and at most 1; nodes that have a channel without an
            observed step never do.
        seed: Seed of all random numbers; the global generators are left alone.
        count: Number of events of each of these nodes.
        first_step: No event begins before this step, so that the time before it can serve for training.

    Shapes:
        - **data:** ``x`` :math:`(N, T, C)`, ``mask`` likewise, if there is one
        - **output:** a copy with ``anomaly_mask`` :math:`(N, T, C)`, ``anomalous`` :math:`(N)` and ``events``, a
          dictionary of arrays: ``node``, ``channel``, ``start``, ``end`` (exclusive) and ``kind`` of each event, in the
          order of nodes and then of steps

    Raises:
        InputError: If a kind is unknown, a number is out of range, or there is no room for the events.
        InputTypeError: If an argument is of the wrong type.

    Examples:
        >>> sensors = Data(x=torch.arange(400.0).view(4, 100, 1).sin())
        >>> injected = inject_series(sensors, kinds=("stuck",), fraction=0.5, first_step=50)
        >>> injected.events["kind"].tolist(), bool((injected.events["start"] >= 50).all())
        (['stuck', 'stuck'], True)
        >>> bool(((injected.x != sensors.x) <= injected.anomaly_mask).all())
        True
    """
    names = check_kinds(kinds, SERIES_ANOMALIES)
    good = good_points(data)
    nodes, steps = good.shape[:2]
    check_count("seed", seed, 0, 2**63 - 1)
    check_count("count", count, 1, steps)
    check_count("first_step", first_step, 0, steps - 1)
    later = np.arange(steps)[None, :, None] >= first_step
    able: Bools = np.all(np.any(good & later, axis=1), axis=1)
    rows = choose_nodes(Draws.of(seed, "events", np.arange(nodes)), able, fraction)
    dealt = _pair_up(deal(names, len(rows)), names)
    series, taken = data.x.numpy(force=True).astype(np.float64), np.broadcast_to(~later, good.shape).copy()
    state = _State(series, good, np.zeros_like(good), taken)
    found = []
    for turn in range(count):  # the events of a turn are in different nodes, so that they cannot overlap
        for position, kind in enumerate(names):
            chosen = rows[np.roll(dealt, turn) == position]
            if len(chosen):
                # The two of a pair share their random numbers, and so the channel and the stretch.
                draws = Draws.of(seed, f"{kind} {turn}", np.repeat(chosen[::2], 2) if kind == "swapped" else chosen)
                found.append(_put(kind, draws, state, chosen))
    result = copy.copy(data)
    result.x = data.x.clone()
    marked = torch.from_numpy(state.region).to(data.x.device)
    result.x[marked] = torch.from_numpy(state.series).to(data.x)[marked]
    result.anomaly_mask, result.anomalous = marked, marked.flatten(1).any(dim=1)
    result.events = _table(found)
    return result


class _State(NamedTuple):
    """What events change: the series, and where there is one; with the observed steps and those that are taken.

    Shapes:
        - **series**, **good**, **region**, **taken:** :math:`(N, T, C)`
    """

    series: Floats
    good: Bools
    region: Bools
    taken: Bools


def _pair_up(dealt: Ints, names: list[str]) -> Ints:
    """Take the last of an odd number of swapped nodes out: it gets another kind, or none (-1)."""
    if "swapped" in names:
        swapped = np.nonzero(dealt == names.index("swapped"))[0]
        if len(swapped) % 2:
            others = [position for position, kind in enumerate(names) if kind != "swapped"]
            dealt[swapped[-1]] = others[0] if others else -1
    return dealt


def _put(kind: str, draws: Draws, state: _State, rows: Ints) -> dict[str, npt.NDArray[Any]]:
    """Put one event of this kind into each of these nodes, in place, and return the table of these events."""
    partner = rows.reshape(-1, 2)[:, ::-1].reshape(-1) if kind == "swapped" else rows
    channel = draws.integers("channel", 0, state.series.shape[2] - 1)
    own, other = state.series[rows, :, channel], state.series[partner, :, channel]
    good = state.good[rows, :, channel] & state.good[partner, :, channel]
    free = ~(state.taken[rows, :, channel] | state.taken[partner, :, channel])
    begin, width = locate(kind, draws, own, good, free)
    place = np.arange(own.shape[1]) - begin[:, None]
    stretch = (place >= 0) & (place < width[:, None])
    changed = (
        np.where(stretch & good, other, own) if kind == "swapped" else change(kind, draws, own, good, begin, width)
    )
    state.series[rows, :, channel] = changed
    state.region[rows, :, channel] |= stretch & good
    state.taken[rows, :, channel] |= stretch
    names = np.full(len(rows), kind, dtype="U8")
    return {"node": rows, "channel": channel, "start": begin, "end": begin + width, "kind": names}


def _table(found: list[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    table = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    order = np.lexsort((table["channel"], table["start"], table["node"]))
    return {name: column[order] for name, column in table.items()}
