import numpy as np
import pytest

from stgraph.data.simulation import Cells, CellTransmission
from stgraph.errors import InputError

FREE, WAVE, CAPACITY = 100.0, 20.0, 2000.0
CRITICAL, JAM = CAPACITY / FREE, CAPACITY / FREE + CAPACITY / WAVE
LENGTH = 0.25
STEP = LENGTH / FREE  # a vehicle in free flow passes one cell a step


def road(number, **changes):
    """A straight road from one origin to the sink."""
    series = np.stack([np.r_[number, 0 : number - 1, number - 1], np.r_[0, 1:number, number + 1]])
    arguments = {
        "length": np.full(number, LENGTH),
        "free_speed": np.full(number, FREE),
        "wave_speed": np.full(number, WAVE),
        "capacity": np.full(number, CAPACITY),
        "series": series,
        "origin_capacity": np.array([2 * CAPACITY]),
    }
    return Cells(**(arguments | changes))


def ring_with_ramps():
    """Four cells in a circle; a ramp joins at one and another leaves at one. Origin 4, sink 5."""
    return Cells(
        length=np.array([0.25, 0.3, 0.25, 0.4]),
        free_speed=np.full(4, FREE),
        wave_speed=np.full(4, WAVE),
        capacity=np.array([2000.0, 1500.0, 2000.0, 1000.0]),
        series=np.array([[0, 1], [1, 2]]),
        merges=np.array([[3], [4], [0]]),
        priority=np.array([0.6]),
        diverges=np.array([[2], [3], [5]]),
        origin_capacity=np.array([1200.0]),
    )


def density_of(model):
    return model.vehicles[: model.cells.num_cells] / model.cells.length


def test_vehicles_are_conserved_and_fit_on_the_road():
    cells = ring_with_ramps()
    model = CellTransmission(cells, STEP)
    generator = np.random.default_rng(0)
    came, fullest, queue = 0.0, 0.0, 0.0
    for _ in range(300):
        demand, factor = generator.uniform(0, 2500, 1), generator.uniform(0, 1, 4)
        model.advance(5, demand, generator.uniform(0.05, 0.95, 1), factor)
        came += 5 * STEP * demand.sum()
        assert model.vehicles.sum() == pytest.approx(came, rel=1e-12)
        share = density_of(model) / cells.jam_density
        assert share.min() >= 0
        assert share.max() <= 1 + 1e-12
        fullest, queue = max(fullest, share.max()), max(queue, model.vehicles[4])
    assert fullest > 0.9
    assert queue > 100
    assert model.vehicles[5] > 0


def test_free_flow_moves_with_free_speed():
    model = CellTransmission(road(20), STEP)
    model.vehicles[2:5] = [1.0, 3.0, 2.0]
    model.advance(7, np.zeros(1))
    expected = np.zeros(20)
    expected[9:12] = [1.0, 3.0, 2.0]
    np.testing.assert_allclose(model.vehicles[:20], expected, atol=1e-12)


def half_way(density, low, high):
    """Where in km density passes the middle between two values for the first time."""
    middle = (low + high) / 2
    after = int((density > middle).argmax()) if high > low else int((density < middle).argmax())
    before = after - 1
    part = (middle - density[before]) / (density[after] - density[before])
    return (before + part + 0.5) * LENGTH


def test_queue_dissolves_backwards_with_the_wave_speed():
    # A jam from cell 60 on is let go at its head: the front between capacity and jam runs upstream at 20 km/h.
    model = CellTransmission(road(200), STEP)
    model.vehicles[:160] = JAM * LENGTH
    model.vehicles[200] = 1e6  # those who wait keep the jam closed behind
    steps = 400
    model.advance(steps, np.zeros(1))
    front = half_way(density_of(model), JAM, CRITICAL)
    assert 160 * LENGTH - front == pytest.approx(WAVE * steps * STEP, abs=LENGTH)


@pytest.mark.parametrize("upstream", [0.3, 0.7])
def test_tail_of_a_queue_moves_as_rankine_and_hugoniot_say(upstream):
    # Free flow meets a bottleneck: speed of the shock is the jump of flow by that of density.
    bottleneck, arriving = 0.2, upstream * CAPACITY
    model = CellTransmission(road(120), STEP)
    factor = np.ones(120)
    factor[100] = bottleneck
    queue_density = JAM - bottleneck * CAPACITY / WAVE
    model.vehicles[:100] = arriving / FREE * LENGTH
    speed = (bottleneck * CAPACITY - arriving) / (queue_density - arriving / FREE)
    assert speed < 0
    steps = 600
    model.advance(steps, np.array([arriving]), capacity_factor=factor)
    tail = half_way(density_of(model)[:100], arriving / FREE, queue_density)
    assert 100 * LENGTH - tail == pytest.approx(-speed * steps * STEP, abs=LENGTH)


def test_incident_lets_through_what_it_leaves():
    model = CellTransmission(road(40), STEP)
    demand, factor = np.array([0.9 * CAPACITY]), np.ones(40)
    before, _ = model.advance(100, demand)
    assert before[-1] < before[0]
    before, _ = model.advance(100, demand)
    np.testing.assert_allclose(before, 100 * STEP * 0.9 * CAPACITY)
    factor[20] = 0.4
    model.advance(100, demand, capacity_factor=factor)
    during, vehicles = model.advance(100, demand, capacity_factor=factor)
    np.testing.assert_allclose(during[20:], 100 * STEP * 0.4 * CAPACITY)
    assert vehicles[19] > 2 * CRITICAL * LENGTH
    np.testing.assert_allclose(vehicles[25:], 0.4 * CRITICAL * LENGTH)


def test_stationary_states_lie_on_the_triangle():
    factor = np.ones(12)
    states = []
    for bottleneck in (0.1, 0.35, 0.6, 0.85):
        for arriving in (0.05, 0.3, 0.8, 1.0):
            model = CellTransmission(road(12), STEP)
            factor[8] = bottleneck
            demand = np.array([arriving * CAPACITY])
            model.advance(2000, demand, capacity_factor=factor)
            passed, vehicles = model.advance(20, demand, capacity_factor=factor)
            states.append((vehicles[[4, 10]] / LENGTH, passed[[4, 10]] / (20 * STEP)))
    density, flow = (np.concatenate(part) for part in zip(*states, strict=True))
    assert (density > CRITICAL).sum() >= 8
    np.testing.assert_allclose(flow, np.minimum(FREE * density, WAVE * (JAM - density)), rtol=1e-6)


def merge(first, second, priority=0.7, room=1.0):
    """Flows of two cells with so many times the capacity waiting that go to one."""
    cells = Cells(
        length=np.full(3, LENGTH),
        free_speed=np.full(3, FREE),
        wave_speed=np.full(3, WAVE),
        capacity=np.full(3, CAPACITY),
        series=np.array([[2], [3]]),
        merges=np.array([[0], [1], [2]]),
        priority=np.array([priority]),
    )
    model = CellTransmission(cells, STEP)
    model.vehicles[:2] = np.array([first, second]) * CRITICAL * LENGTH
    passed, _ = model.advance(1, np.zeros(0), capacity_factor=np.array([1.0, 1.0, room]))
    return passed[:2] / (CAPACITY * STEP)


@pytest.mark.parametrize(
    ("waiting", "flows"),
    [((0.3, 0.4), (0.3, 0.4)), ((1.0, 1.0), (0.7, 0.3)), ((1.0, 0.1), (0.9, 0.1)), ((0.5, 1.0), (0.5, 0.5))],
)
def test_merge_by_priority(waiting, flows):
    np.testing.assert_allclose(merge(*waiting), flows)


def test_merge_leaves_no_room_unused():
    generator = np.random.default_rng(1)
    for first, second, priority, room in generator.uniform(0.05, 0.95, (50, 4)):
        flows = merge(first, second, priority, room)
        assert flows.sum() == pytest.approx(min(first + second, room))
        assert (flows <= np.array([first, second]) + 1e-12).all()


def test_who_waits_at_a_diverge_blocks_those_behind():
    cells = Cells(
        length=np.full(3, LENGTH),
        free_speed=np.full(3, FREE),
        wave_speed=np.full(3, WAVE),
        capacity=np.full(3, CAPACITY),
        series=np.array([[1, 2], [3, 3]]),
        diverges=np.array([[0], [1], [2]]),
    )
    model = CellTransmission(cells, STEP)
    model.vehicles[0] = CRITICAL * LENGTH
    passed, _ = model.advance(1, np.zeros(0), np.array([0.25]), np.array([1.0, 0.05, 1.0]))
    assert passed[0] == pytest.approx(0.2 * CAPACITY * STEP)  # a quarter of it fills the first way
    np.testing.assert_allclose(model.vehicles[1:3], np.array([0.05, 0.15]) * CAPACITY * STEP)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"length": np.zeros(3)}, "length must hold a positive number for each of the 3 cells"),
        ({"capacity": np.ones(2)}, "capacity must hold"),
        ({"origin_capacity": np.array([-1.0])}, "origin_capacity must be positive"),
        ({"series": np.array([0, 1, 2])}, "series must have the shape"),
        ({"series": np.array([[3, 0, 1, 2], [0, 1, 2, 9]])}, "series must hold places 0 to 4"),
        ({"series": np.array([[3, 0, 1], [0, 1, 2]])}, "left through exactly one"),
        ({"series": np.array([[3, 0, 1, 2], [0, 1, 1, 4]])}, "entered through at most one"),
        ({"merges": np.array([[0], [1], [2]])}, "priority must hold"),
    ],
)
def test_bad_cells(changes, match):
    with pytest.raises(InputError, match=match):
        road(3, **changes)


def test_bad_steps():
    with pytest.raises(InputError, match="at most the time in which a cell is passed"):
        CellTransmission(road(3), 1.5 * STEP)
    with pytest.raises(InputError, match="step must be a positive number"):
        CellTransmission(road(3), 0.0)
    model = CellTransmission(ring_with_ramps(), STEP)
    demand, shares = np.array([10.0]), np.array([0.5])
    for arguments, match in [
        ((0, demand, shares), "steps must be at least 1"),
        ((1, demand), "shares must be given for the 1 diverges"),
        ((1, demand, np.array([1.0])), "shares must lie strictly between"),
        ((1, np.array([-1.0]), shares), "demand must be finite and not negative"),
        ((1, np.ones(2), shares), r"demand must have the shape \(1,\)"),
        ((1, demand, shares, np.ones(3)), r"capacity_factor must have the shape \(4,\)"),
        ((1, demand, shares, np.full(4, 1.5)), "capacity_factor must lie in 0 to 1"),
    ]:
        with pytest.raises(InputError, match=match):
            model.advance(*arguments)
    assert model.vehicles.sum() == 0
