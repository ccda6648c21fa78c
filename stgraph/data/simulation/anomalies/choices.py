"""What is drawn for anomalies: which objects get one, of which kind, and where."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np

from stgraph.data.simulation.light_curves.draws import Bools, Draws, Floats, Ints
from stgraph.data.simulation.light_curves.recipe import check_number
from stgraph.errors import InputError, InputTypeError

__all__ = ["check_kinds", "choose_nodes", "deal", "place_windows"]


def check_kinds(kinds: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the kinds as a list.

    Raises:
        InputError: If there is none, one comes twice, or one is unknown; names the nearest.
        InputTypeError: If they are no sequence of text.
    """
    if isinstance(kinds, str) or not all(isinstance(kind, str) for kind in kinds):
        raise InputTypeError(f"kinds is {kinds!r}; expected a sequence of names")
    for kind in kinds:
        if kind not in known:
            near = difflib.get_close_matches(kind, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise InputError(f"{kind!r} is no kind of anomaly; {hint}")
    if not kinds or len(set(kinds)) < len(kinds):
        raise InputError(f"kinds is {list(kinds)}; expected at least one name, and none twice")
    return list(kinds)


def choose_nodes(draws: Draws, able: Bools, fraction: float) -> Ints:
    """Numbers of ``round(fraction * N)`` nodes in random order, of those that are able to take an anomaly.

    Raises:
        InputError: If the fraction is not within (0, 1], or it is none of the nodes.
        InputTypeError: If the fraction is no number.
    """
    check_number("fraction", fraction, 0.0, 1.0)
    number = min(round(fraction * len(able)), int(able.sum()))
    if number == 0:
        raise InputError(
            f"fraction is {fraction}, which is none of {len(able)} nodes, {int(able.sum())} of which can take an "
            "anomaly; expected a larger fraction"
        )
    key = np.where(able, draws.uniform("chosen"), np.inf)
    return np.argsort(key, kind="stable")[:number]


def deal(kinds: Sequence[str], number: int) -> Ints:
    """The position in ``kinds`` of each of ``number`` nodes in random order: every kind equally often, up to one.

    ``"swapped"`` needs two nodes: where one alone would get it, another kind takes its place.

    Raises:
        InputError: If that is the only kind and there is one node.

    Examples:
        >>> deal(["line", "swapped"], 3), deal(["line", "swapped"], 4)
        (array([0, 0, 0]), array([0, 1, 0, 1]))
    """
    dealt = np.arange(number) % len(kinds)
    if "swapped" in kinds and (dealt == kinds.index("swapped")).sum() == 1:
        others = [position for position, kind in enumerate(kinds) if kind != "swapped"]
        if not others:
            raise InputError("kinds is ['swapped'], which needs two nodes, but the fraction is a single one")
        dealt[dealt == kinds.index("swapped")] = others[0]
    return dealt


def place_windows(good: Bools | Ints, width: Ints, chance: Floats) -> tuple[Ints, Ints]:
    """Begin of a window in each row, and how many good points it has: any of those that have the most.

    Args:
        good: The points that count, or by how much each counts.
        width: Width of each window, at most L.
        chance: Uniform random numbers, which decide between equals.

    Shapes:
        - **good:** :math:`(k, L)`, **width**, **chance:** :math:`(k)`
        - **output:** :math:`(k)` each

    Examples:
        >>> good = np.array([[True, False, True, True, True]])
        >>> place_windows(good, np.array([3]), np.array([0.5]))
        (array([2]), array([3]))
    """
    length = good.shape[1]
    total = np.concatenate([np.zeros((len(good), 1), np.int64), np.cumsum(good, axis=1)], axis=1)
    end = np.arange(length) + width[:, None]
    count = np.take_along_axis(total, np.minimum(end, length), axis=1) - total[:, :-1]
    count[end > length] = np.iinfo(np.int64).min
    most = count.max(axis=1)
    best = np.cumsum(count == most[:, None], axis=1)
    wanted = np.floor(chance * best[:, -1]).astype(np.int64)
    begin: Ints = np.argmax(best > wanted[:, None], axis=1)
    return begin, most
