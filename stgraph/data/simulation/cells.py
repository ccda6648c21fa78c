"""The cell transmission model: roads as cells that pass vehicles on, all cells and junctions in each operation at once.

Units are kilometres, hours and vehicles throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stgraph.errors import InputError

__all__ = ["CellTransmission", "Cells"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


def _no_places(rows: int) -> _Ints:
    return np.zeros((rows, 0), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Cells:
    r"""Cells of road with a triangular fundamental diagram each, and how they follow each other.

    A *place* is a cell (0 to M - 1), an origin at which vehicles wait to enter (M to M + O - 1), or the sink, in which
    all trips end (M + O). Each cell and origin is left through exactly one entry of ``series``, ``merges`` (as first
    or second) or ``diverges``; each cell is entered through at most one.

    Args:
        length: Length of the cells in km.
        free_speed: Speed of free flow in km/h.
        wave_speed: Speed in km/h at which congestion moves upstream.
        capacity: Largest flow in vehicles per hour, all lanes together. The jam density follows from the triangle, as
            ``capacity / free_speed + capacity / wave_speed``.
        series: From which place to which, where nothing joins or leaves.
        merges: First place, second place, and the cell that both go to.
        priority: Share of a full cell that is for the first place of a merge, the second having the rest.
        diverges: From which cell, to which first and which second place. What share goes to the first is an input of
            every step.
        origin_capacity: Largest flow out of each origin, in vehicles per hour.

    Shapes:
        - **length**, **free_speed**, **wave_speed**, **capacity:** :math:`(M)`, **origin_capacity:** :math:`(O)`
        - **series:** :math:`(2, A)`, **merges:** :math:`(3, B)`, **priority:** :math:`(B)`, **diverges:**
          :math:`(3, D)`

    Raises:
        InputError: If a shape or number is wrong or places are joined in another way than said above.
    """

    length: _Floats
    free_speed: _Floats
    wave_speed: _Floats
    capacity: _Floats
    series: _Ints
    merges: _Ints = field(default_factory=lambda: _no_places(3))
    priority: _Floats = field(default_factory=lambda: np.zeros(0))
    diverges: _Ints = field(default_factory=lambda: _no_places(3))
    origin_capacity: _Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        for name in ("length", "free_speed", "wave_speed", "capacity"):
            value = getattr(self, name)
            if value.shape != (self.num_cells,) or not bool((np.isfinite(value) & (value > 0)).all()):
                raise InputError(f"{name} must hold a positive number for each of the {self.num_cells} cells")
        if not bool((self.origin_capacity > 0).all()):
            raise InputError("origin_capacity must be positive")
        for name, rows in (("series", 2), ("merges", 3), ("diverges", 3)):
            places = getattr(self, name)
            if places.ndim != 2 or places.shape[0] != rows:
                raise InputError(f"{name} must have the shape ({rows}, number), got {places.shape}")
            if places.size and not 0 <= places.min() <= places.max() <= self.sink:
                raise InputError(f"{name} must hold places 0 to {self.sink}, got {places.min()} to {places.max()}")
        if self.priority.shape != self.merges.shape[1:] or not bool(((self.priority > 0) & (self.priority < 1)).all()):
            raise InputError(f"priority must hold a number between 0 and 1 for each of {self.merges.shape[1]} merges")
        left = np.bincount(self.places_left, minlength=self.sink + 1)
        if (left[: self.sink] != 1).any() or left[self.sink]:
            raise InputError("each cell and origin must be left through exactly one entry, and the sink through none")
        entered = np.bincount(self.places_entered, minlength=self.sink + 1)
        if (entered[: self.num_cells] > 1).any() or entered[self.num_cells : self.sink].any():
            raise InputError("each cell must be entered through at most one entry, and origins through none")

    @property
    def num_cells(self) -> int:
        """Number of cells M."""
        return int(self.length.shape[0])

    @property
    def num_origins(self) -> int:
        """Number of origins O."""
        return int(self.origin_capacity.shape[0])

    @property
    def sink(self) -> int:
        """Place of the sink, M + O."""
        return self.num_cells + self.num_origins

    @property
    def jam_density(self) -> _Floats:
        """Density of standing vehicles in vehicles per km, all lanes together."""
        density: _Floats = self.capacity / self.free_speed + self.capacity / self.wave_speed
        return density

    @property
    def places_left(self) -> _Ints:
        """The place that each flow leaves: those of series, first and second of merges, diverges."""
        return np.concatenate([self.series[0], self.merges[0], self.merges[1], self.diverges[0]])

    @property
    def places_entered(self) -> _Ints:
        """The place that each flow arrives at: those of series, merges, first and second of diverges."""
        return np.concatenate([self.series[1], self.merges[2], self.diverges[1], self.diverges[2]])


class CellTransmission:
    r"""Vehicles in cells, moved by the cell transmission model.

    A cell sends what free flow and its capacity let out, and receives what its capacity and the wave of free space let
    in: :math:`S = \min(v k, C)` and :math:`R = \min(C, w (k_{jam} - k))` for density :math:`k`. Between two cells flow
    is :math:`\min(S, R)`. Two that merge share :math:`R` by priority, and one takes what the other leaves over.
    Vehicles that diverge stay in order: where one of both ways is full, nobody overtakes who waits for it.
    After `Daganzo, 1994 <https://doi.org/10.1016/0191-2615(94)90002-7>`_, and, for junctions, `Daganzo, 1995
    <https://doi.org/10.1016/0191-2615(94)00022-R>`_.

    Args:
        cells: The road.
        step: Length of a time step in hours, so short that no vehicle passes a whole cell in one.

    Raises:
        InputError: If the step is not positive or too long for a cell.

    Examples:
        >>> road = Cells(
        ...     length=np.full(3, 1.0), free_speed=np.full(3, 100.0), wave_speed=np.full(3, 20.0),
        ...     capacity=np.full(3, 2000.0), series=np.array([[0, 1, 2, 3], [1, 2, 4, 0]]),
        ...     origin_capacity=np.array([2000.0]),
        ... )
        >>> model = CellTransmission(road, step=0.01)
        >>> passed, vehicles = model.advance(10, demand=np.array([1000.0]))
        >>> model.vehicles.round().tolist()  # three cells, nobody waiting, those that have arrived
        [10.0, 10.0, 10.0, 0.0, 70.0]
    """

    def __init__(self, cells: Cells, step: float) -> None:
        if not (np.isfinite(step) and step > 0):
            raise InputError(f"step must be a positive number of hours, got {step}")
        # A cell as long as the way of one step passes everything on, whatever the last bit of its length.
        share = cells.free_speed * step / cells.length
        if share.max() > 1 + 1e-9 or (cells.wave_speed * step / cells.length).max() > 1 + 1e-9:
            raise InputError(
                f"step must be at most the time in which a cell is passed, {step / share.max()} h for the quickest, "
                f"got {step}"
            )
        self.cells, self.step = cells, float(step)
        self.vehicles = np.zeros(cells.sink + 1)
        pad = np.ones(cells.num_origins)
        self._send = np.concatenate([share.clip(max=1), pad, [0.0]])
        self._receive = np.concatenate([cells.wave_speed * step / cells.length, pad])
        self._room = np.concatenate([cells.jam_density * cells.length, 0 * pad])
        self._capacity = np.concatenate([cells.capacity, cells.origin_capacity, [np.inf]]) * step
        self._index()

    def _index(self) -> None:
        cells = self.cells
        left, entered = cells.places_left, cells.places_entered
        self._left, self._entered = left, entered
        # Where each place finds what left and what arrived; flows are followed by a zero for places without any.
        self._out = np.full(cells.sink + 1, left.size)
        self._out[left] = np.arange(left.size)
        self._in = np.full(cells.sink + 1, entered.size)
        into_cells = entered < cells.num_cells
        self._in[entered[into_cells]] = np.flatnonzero(into_cells)
        self._to_sink = np.flatnonzero(entered == cells.sink)
        series, merges, diverges = (places.shape[1] for places in (cells.series, cells.merges, cells.diverges))
        self._leaving = _parts(series, merges, merges, diverges)
        self._arriving = _parts(series, merges, diverges, diverges)
        self._sent, self._arrived = np.zeros(left.size + 1), np.zeros(entered.size + 1)
        self._space = np.full(cells.sink + 1, np.inf)  # the sink takes all

    def advance(
        self, steps: int, demand: _Floats, shares: _Floats | None = None, capacity_factor: _Floats | None = None
    ) -> tuple[_Floats, _Floats]:
        """Move on by some steps under constant conditions.

        Args:
            steps: Number of steps.
            demand: Vehicles per hour that come to each origin.
            shares: Share of the vehicles of each diverge that go the first way, strictly between 0 and 1. (needed
                where there are diverges)
            capacity_factor: What is left of each cell's capacity. (default: all)

        Shapes:
            - **demand:** :math:`(O)`, **shares:** :math:`(D)`, **capacity_factor:** :math:`(M)`
            - **output:** vehicles that left each cell :math:`(M)`, and the mean number of vehicles in it before each
              of the steps :math:`(M)`

        Raises:
            InputError: If a shape or number is wrong.
        """
        cells = self.cells
        demand, shares, factor = self._check(steps, demand, shares, capacity_factor)
        capacity = self._capacity.copy()
        capacity[: cells.num_cells] *= factor
        coming = demand * self.step
        ways = (shares, 1 - shares, 1 / shares, 1 / (1 - shares))
        total, stay = np.zeros(self._left.size + 1), np.zeros(cells.sink + 1)
        queues = self.vehicles[cells.num_cells : cells.sink]
        for _ in range(steps):
            queues += coming
            stay += self.vehicles
            self._exchange(capacity, ways)
            total += self._sent
        return total.take(self._out[: cells.num_cells]), stay[: cells.num_cells] / steps

    def _exchange(self, capacity: _Floats, ways: tuple[_Floats, _Floats, _Floats, _Floats]) -> None:
        """Let all places pass vehicles on once; what each flow carried is left in ``_sent`` and ``_arrived``."""
        vehicles, sink, priority = self.vehicles, self.cells.sink, self.cells.priority
        first, second, per_first, per_second = ways
        sending = np.minimum(self._send * vehicles, capacity).take(self._left)
        ends = self._space[:sink]
        np.subtract(self._room, vehicles[:sink], out=ends)
        ends *= self._receive
        np.minimum(ends, capacity[:sink], out=ends)
        space = self._space.take(self._entered)

        series, main, side, fork = (self._sent[part] for part in self._leaving)
        to_next, to_merged, to_first, to_second = (self._arrived[part] for part in self._arriving)
        in_series, one, other, at_fork = (sending[part] for part in self._leaving)
        next_space, room, first_space, second_space = (space[part] for part in self._arriving)
        np.minimum(in_series, next_space, out=series)
        # The middle of what waits, what the other leaves over, and the share by priority (Daganzo, 1995).
        np.minimum(one, np.maximum(room - other, priority * room), out=main)
        np.minimum(other, np.maximum(room - one, (1 - priority) * room), out=side)
        np.minimum(first_space * per_first, second_space * per_second, out=fork)
        np.minimum(fork, at_fork, out=fork)

        to_next[:] = series
        np.add(main, side, out=to_merged)
        np.multiply(fork, first, out=to_first)
        np.multiply(fork, second, out=to_second)
        vehicles -= self._sent.take(self._out)
        vehicles += self._arrived.take(self._in)
        vehicles[sink] += self._arrived.take(self._to_sink).sum()

    def _check(
        self, steps: int, demand: _Floats, shares: _Floats | None, factor: _Floats | None
    ) -> tuple[_Floats, _Floats, _Floats]:
        cells = self.cells
        if steps < 1:
            raise InputError(f"steps must be at least 1, got {steps}")
        forks = cells.diverges.shape[1]
        if shares is None:
            if forks:
                raise InputError(f"shares must be given for the {forks} diverges")
            shares = np.zeros(0)
        factor = np.ones(cells.num_cells) if factor is None else factor
        sizes = {"demand": (demand, cells.num_origins), "shares": (shares, forks)}
        for name, (value, size) in (sizes | {"capacity_factor": (factor, cells.num_cells)}).items():
            if value.shape != (size,):
                raise InputError(f"{name} must have the shape ({size},), got {value.shape}")
        if not bool(((demand >= 0) & np.isfinite(demand)).all()):
            raise InputError("demand must be finite and not negative")
        if not bool(((shares > 0) & (shares < 1)).all()):
            raise InputError("shares must lie strictly between 0 and 1")
        if not bool(((factor >= 0) & (factor <= 1)).all()):
            raise InputError("capacity_factor must lie in 0 to 1")
        return demand, shares, factor


def _parts(*sizes: int) -> list[slice]:
    ends = np.cumsum([0, *sizes])
    return [slice(int(a), int(b)) for a, b in pairwise(ends)]
