import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.geodesy import EARTH_RADIUS_KM, great_circle_distance, local_plane, sphere_points

R = EARTH_RADIUS_KM


def degrees(*pairs):
    return torch.tensor(pairs, dtype=torch.float64)


def random_points(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    return torch.stack([uniform[:, 0] * 360 - 180, torch.rad2deg(torch.asin(uniform[:, 1] * 2 - 1))], dim=1)


@pytest.mark.parametrize(
    ("a", "b", "angle"),
    [
        ((0, 0), (0, 0), 0.0),
        ((0, 0), (1, 0), math.radians(1)),
        ((13, 20), (13, 65), math.radians(45)),
        ((0, 0), (180, 0), math.pi),
        ((30, 40), (-150, -40), math.pi),
        ((17, 90), (-99, 90), 0.0),
        ((0, 90), (0, -90), math.pi),
        ((179.5, 0), (-179.5, 0), math.radians(1)),
        ((359.5, 0), (0.5, 0), math.radians(1)),
        # two sides of 90 degrees meet at a right angle: cos c = cos a cos b
        ((0, 0), (60, 30), math.acos(math.cos(math.radians(60)) * math.cos(math.radians(30)))),
    ],
)
def test_great_circle_closed_forms(a, b, angle):
    assert great_circle_distance(degrees(a)[0], degrees(b)[0]).item() == pytest.approx(angle * R, abs=2e-4)


def test_great_circle_is_accurate_for_metres():
    step = torch.tensor(1e-5, dtype=torch.float64)  # about 1.1 m
    distance = great_circle_distance(degrees((7.0, 50.0))[0], torch.stack([torch.tensor(7.0).double(), 50.0 + step]))
    assert distance.item() == pytest.approx(math.radians(1e-5) * R, rel=1e-6)


def test_great_circle_agrees_with_the_chord_and_broadcasts():
    points = random_points(60)
    distance = great_circle_distance(points[:, None], points[None])
    chord = torch.cdist(sphere_points(points), sphere_points(points), compute_mode="donot_use_mm_for_euclid_dist")
    assert distance.shape == (60, 60)
    torch.testing.assert_close(distance, 2 * R * torch.asin((chord / (2 * R)).clamp(max=1)), rtol=1e-7, atol=1e-3)
    torch.testing.assert_close(distance, distance.T)


def test_nearest_by_chord_is_nearest_by_great_circle():
    points = random_points(80, seed=1)
    by_arc = great_circle_distance(points[:, None], points[None]).argsort(dim=1)
    space = sphere_points(points)
    by_chord = (space[:, None] - space[None]).norm(dim=-1).argsort(dim=1)
    torch.testing.assert_close(by_arc, by_chord)


def test_sphere_points_lie_on_the_sphere():
    torch.testing.assert_close(sphere_points(random_points(20)).norm(dim=1), torch.full((20,), R, dtype=torch.float64))
    torch.testing.assert_close(sphere_points(degrees((90, 0)), radius=2.0), torch.tensor([[0.0, 2.0, 0.0]]).double())


def test_local_plane_keeps_distance_and_bearing_from_the_origin():
    points, origin = random_points(50, seed=2), degrees((11.0, 48.0))[0]
    plane = local_plane(points, origin)
    torch.testing.assert_close(plane.norm(dim=1), great_circle_distance(points, origin), rtol=1e-9, atol=1e-6)
    lon, lat = torch.deg2rad(points).unbind(1)
    lon0, lat0 = torch.deg2rad(origin)
    bearing = torch.atan2(
        (lon - lon0).sin() * lat.cos(), lat0.cos() * lat.sin() - lat0.sin() * lat.cos() * (lon - lon0).cos()
    )
    torch.testing.assert_close(torch.atan2(plane[:, 0], plane[:, 1]), bearing, rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(lon=st.floats(-180, 180), lat=st.floats(-85, 85))
def test_local_plane_is_an_isometry_within_a_city(lon, lat):
    offsets = torch.rand(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 0.5
    points = torch.tensor([lon, lat], dtype=torch.float64) + 0.3 * offsets
    plane = local_plane(points)
    arcs = great_circle_distance(points[:, None], points[None])
    torch.testing.assert_close((plane[:, None] - plane[None]).norm(dim=-1), arcs, rtol=2e-5, atol=1e-6)


def test_local_plane_across_the_date_line_is_a_shifted_copy():
    here = degrees((-1.0, 10.0), (1.0, 12.0), (0.5, 9.0))
    there = here + degrees((180.0, 0.0))
    there[:, 0] = torch.where(there[:, 0] > 180, there[:, 0] - 360, there[:, 0])
    torch.testing.assert_close(local_plane(there), local_plane(here), rtol=1e-9, atol=1e-6)
    assert local_plane(there).abs().max() < 250


def test_local_plane_around_a_pole():
    ring = degrees((0, 89), (90, 89), (180, 89), (-90, 89))
    torch.testing.assert_close(
        local_plane(ring).norm(dim=1), torch.full((4,), math.radians(1) * R, dtype=torch.float64)
    )


def test_local_plane_of_the_origin_and_its_antipode():
    plane = local_plane(degrees((10, 20), (-170, -20)), origin=degrees((10, 20))[0])
    torch.testing.assert_close(plane, degrees((0.0, 0.0), (math.pi * R, 0.0)), rtol=1e-9, atol=1e-6)


def test_local_plane_keeps_further_columns_and_leading_dimensions():
    points = torch.cat([random_points(6, seed=4) / 10, torch.arange(6.0).double()[:, None]], dim=1)
    plane = local_plane(points)
    torch.testing.assert_close(plane[:, 2], points[:, 2])
    torch.testing.assert_close(local_plane(points.view(2, 3, 3)), plane.view(2, 3, 3))
    torch.testing.assert_close(local_plane(points.flip(0).contiguous().flip(0)), plane)


def test_one_point_and_no_point():
    torch.testing.assert_close(local_plane(degrees((5, 5))), torch.zeros(1, 2).double(), rtol=0, atol=1e-9)
    assert local_plane(torch.empty(0, 2)).shape == (0, 2)
    assert sphere_points(torch.empty(0, 2)).shape == (0, 3)
    assert great_circle_distance(torch.empty(0, 2), torch.empty(0, 2)).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_result_has_the_floating_type_of_the_input(dtype):
    points = torch.tensor([[10, 50], [11, 51]], dtype=dtype)
    expected = dtype if dtype.is_floating_point else torch.float32
    exact = local_plane(points.double())
    for result in (local_plane(points), sphere_points(points), great_circle_distance(points, points.flip(0))):
        assert result.dtype == expected
    torch.testing.assert_close(local_plane(points), exact.to(expected))


@pytest.mark.parametrize("function", [local_plane, sphere_points, lambda x: great_circle_distance(x, x)])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (torch.tensor([[10.0, 91.0]]), InputError, "within -90..90"),
        (torch.tensor([[1000.0, 10.0]]), InputError, "metres"),
        (torch.tensor([[10.0, float("nan")]]), InputError, "finite"),
        (torch.tensor([[10.0]]), InputError, r"shape \(1, 1\)"),
        (torch.tensor(1.0), InputError, "shape"),
        ([[10.0, 10.0]], InputTypeError, "list"),
        (torch.tensor([[1j, 1j]]), InputTypeError, "complex"),
    ],
)
def test_bad_points(function, value, error, message):
    with pytest.raises(error, match=message):
        function(value)


def test_points_around_the_globe_have_no_plane():
    with pytest.raises(InputError, match="no mean direction"):
        local_plane(degrees((0, 0), (180, 0)))
    with pytest.raises(InputError, match="2 columns"):
        sphere_points(torch.zeros(3, 3))
