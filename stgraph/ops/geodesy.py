"""Distances and projections on the sphere, from longitude and latitude in degrees to kilometres.

All computations run in float64, whatever the input, because a float32 angle is only good to about a metre on the
ground; the result has the input's floating type.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["EARTH_RADIUS_KM", "great_circle_distance", "local_plane", "sphere_points"]

EARTH_RADIUS_KM = 6371.0088
"""Mean radius R1 of the GRS 80 ellipsoid (Moritz, 2000, Journal of Geodesy 74, 128-133)."""

_TINY = 1e-12  # below this sine of an angle (6 micrometres on the ground) a direction has no meaning


def local_plane(lonlat: Tensor, origin: Tensor | None = None) -> Tensor:
    r"""Project longitude and latitude on a plane by the azimuthal equidistant projection.

    Distances and directions from the origin are exact; other distances are good to 0.01 % within about 150 km and to
    1 % within about 1500 km of it. The origin is the mean of the points as directions in space, so that points on both
    sides of the date line, or around a pole, stay together. See Snyder (1987), "Map Projections: A Working Manual",
    USGS Professional Paper 1395, p. 191.

    Args:
        lonlat: Longitude and latitude in degrees, in this order. Further columns (an elevation, say) are kept as they
            are.
        origin: Longitude and latitude of the origin. (default: the mean of the points)

    Shapes:
        - **lonlat:** :math:`(*, N, D)` with :math:`D \ge 2`; the mean is over all points
        - **origin:** :math:`(2)`
        - **output:** :math:`(*, N, D)`: kilometres to the east and to the north of the origin, then further columns

    Raises:
        InputError: If latitudes are not within -90..90 or the points surround the globe so that they have no mean.

    Examples:
        >>> local_plane(torch.tensor([[0.0, 1.0], [0.0, -1.0]])).round(decimals=2)
        tensor([[   0.0000,  111.2000],
                [   0.0000, -111.2000]])
    """
    points = _as_lonlat(lonlat, "lonlat", extra_columns=True)
    if points.numel() == 0:
        return lonlat.clone()
    centre = _mean_direction(points) if origin is None else _as_lonlat(origin, "origin")
    lon, lat = torch.deg2rad(points[..., 0]), torch.deg2rad(points[..., 1])
    lon0, lat0 = torch.deg2rad(centre[0]), torch.deg2rad(centre[1])
    delta = lon - lon0
    east = lat.cos() * delta.sin()
    north = lat0.cos() * lat.sin() - lat0.sin() * lat.cos() * delta.cos()
    along = lat0.sin() * lat.sin() + lat0.cos() * lat.cos() * delta.cos()
    sine = torch.hypot(east, north)
    angle = torch.atan2(sine, along)
    undirected = sine < _TINY  # the origin itself, or its antipode, which we put to the east
    stretch = angle / sine.masked_fill(undirected, 1.0)
    x = torch.where(undirected, angle, east * stretch)
    y = torch.where(undirected, 0.0, north * stretch)
    plane = EARTH_RADIUS_KM * torch.stack([x, y], dim=-1)
    return torch.cat([plane, points[..., 2:]], dim=-1).to(_float_type(lonlat))


def great_circle_distance(a: Tensor, b: Tensor) -> Tensor:
    r"""Length of the shorter great-circle arc between points, by the haversine formula.

    The formula is exact for small distances and good to a decimetre near antipodes. See Sinnott (1984), "Virtues of the
    haversine", Sky and Telescope 68, 159.

    Args:
        a: Longitude and latitude in degrees, in this order.
        b: The same for the other ends; broadcast against :obj:`a`.

    Shapes:
        - **a**, **b:** :math:`(*, 2)`
        - **output:** :math:`(*)`, kilometres

    Raises:
        InputError: If latitudes are not within -90..90.

    Examples:
        >>> quarter = great_circle_distance(torch.tensor([0.0, 0.0]), torch.tensor([90.0, 0.0]))
        >>> round(quarter.item(), 1)
        10007.6
    """
    start, end = torch.deg2rad(_as_lonlat(a, "a")), torch.deg2rad(_as_lonlat(b, "b"))
    half = (end - start) / 2
    half_lon, half_lat = half[..., 0].sin(), half[..., 1].sin()
    haversine = half_lat.square() + start[..., 1].cos() * end[..., 1].cos() * half_lon.square()
    haversine = haversine.clamp(0.0, 1.0)
    distance = 2 * EARTH_RADIUS_KM * torch.atan2(haversine.sqrt(), (1 - haversine).sqrt())
    return distance.to(torch.promote_types(_float_type(a), _float_type(b)))


def sphere_points(lonlat: Tensor, radius: float = EARTH_RADIUS_KM) -> Tensor:
    r"""Points on a sphere in Cartesian coordinates.

    The straight line between two such points grows with the great-circle distance, so that the nearest neighbours by
    Euclidean distance are the nearest on the globe, also across the date line and the poles.

    Args:
        lonlat: Longitude and latitude in degrees, in this order.
        radius: Radius of the sphere. (default: the Earth's mean radius in kilometres)

    Shapes:
        - **lonlat:** :math:`(*, 2)`
        - **output:** :math:`(*, 3)`

    Raises:
        InputError: If latitudes are not within -90..90.

    Examples:
        >>> sphere_points(torch.tensor([[0.0, 0.0], [180.0, 0.0]]), radius=1.0).round(decimals=3) + 0.0
        tensor([[ 1.,  0.,  0.],
                [-1.,  0.,  0.]])
    """
    return (radius * _unit_vectors(_as_lonlat(lonlat, "lonlat"))).to(_float_type(lonlat))


def _unit_vectors(lonlat: Tensor) -> Tensor:
    lon, lat = torch.deg2rad(lonlat[..., 0]), torch.deg2rad(lonlat[..., 1])
    return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=-1)


def _mean_direction(lonlat: Tensor) -> Tensor:
    mean = _unit_vectors(lonlat).reshape(-1, 3).mean(dim=0)
    length = mean.norm().item()
    if length < 1e-6:
        raise InputError(
            "local_plane: the points surround the globe, so that they have no mean direction; give `origin`, or use "
            "points on the sphere (coordinates='great_circle') instead of a plane"
        )
    lon = torch.atan2(mean[1], mean[0])
    lat = torch.atan2(mean[2], torch.hypot(mean[0], mean[1]))
    return torch.rad2deg(torch.stack([lon, lat]))


def _float_type(value: Tensor) -> torch.dtype:
    return value.dtype if value.is_floating_point() else torch.get_default_dtype()


def _as_lonlat(value: Tensor, name: str, extra_columns: bool = False) -> Tensor:
    if not isinstance(value, Tensor) or value.is_complex():
        raise InputTypeError(f"{name} must be a real tensor of longitude and latitude in degrees, got {_kind(value)}")
    columns = value.size(-1) if value.dim() > 0 else 0
    if columns < 2 or (columns > 2 and not extra_columns):
        wanted = "at least 2 columns" if extra_columns else "2 columns"
        raise InputError(f"{name} must have {wanted}, longitude and latitude, but has shape {tuple(value.shape)}")
    points = value.to(torch.float64)
    if not bool(torch.isfinite(points).all()):
        raise InputError(f"{name} must be finite, but holds NaN or infinity")
    lat = points[..., 1]
    if lat.numel() and lat.abs().max().item() > 90.0:
        raise InputError(
            f"{name}: latitudes (second column) must be within -90..90 degrees, but reach "
            f"{lat.flatten()[lat.abs().argmax()].item():g}; the order is longitude, latitude"
        )
    lon = points[..., 0]
    if lon.numel() and lon.abs().max().item() > 360.0:
        raise InputError(
            f"{name}: longitudes (first column) must be within -360..360 degrees, but reach "
            f"{lon.flatten()[lon.abs().argmax()].item():g}; are these metres?"
        )
    return points


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
