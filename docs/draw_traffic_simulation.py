"""Draw what the traffic simulation makes: ``python docs/draw_traffic_simulation.py`` (about half a minute).

A fundamental diagram, the speed of a week and a queue that grows against the traffic, without noise of the detectors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, DayLocator
from matplotlib.figure import Figure
from PIL import Image

from stgraph.data.simulation import TrafficSimulation, simulate_traffic
from stgraph.report.style import COLORS, GREY, INK, new_figure, save_figure, style

IMAGES = Path(__file__).resolve().parent / "images"
VEHICLE_KM, DPI = 0.0065, 110


def draw_simulation(path: Path) -> Path:
    """Draw the figure of the default network in its first week."""
    traffic = simulate_traffic(num_days=7, noise=0.0, missing_rate=0.0)
    figure = new_figure(9, 8.6)
    above, below = figure.subfigures(2, 1)
    left, right = above.subplots(1, 2, width_ratios=(1, 1.25))
    draw_diagram(left, traffic)
    draw_map(right, traffic, above)
    week, corridor = below.subplots(1, 2, width_ratios=(1.25, 1))
    busiest = np.argsort((traffic.speed < 45).mean(axis=0))
    draw_week(week, traffic, busiest[[-1, -20, 0]])
    draw_corridor(corridor, traffic, below)
    return save_small(figure, path)


def draw_diagram(ax: Axes, traffic: TrafficSimulation) -> None:
    """Flow over density in each interval at detectors of three lanes without a bottleneck, and the triangle."""
    cells, cell = traffic.network.cells, traffic.cell
    per_lane = cells.capacity[cell] / traffic.network.lanes[cell]
    shown = np.flatnonzero(per_lane == np.median(per_lane))
    density = traffic.occupancy[:, shown] / VEHICLE_KM
    flow = 12 * traffic.flow[:, shown] / traffic.network.lanes[cell[shown]]
    ax.plot(density.ravel(), flow.ravel(), ",", color=COLORS[0], alpha=0.5, rasterized=True)
    capacity, free, wave = np.median(per_lane), np.median(cells.free_speed[cell[shown]]), cells.wave_speed[0]
    corners = [0, capacity / free, capacity / free + capacity / wave]
    ax.plot(corners, [0, capacity, 0], color=COLORS[1], linewidth=1.5, label=f"{free:.0f} km/h, {wave:.0f} km/h")
    ax.legend(fontsize=8, frameon=False, labelcolor=INK, title="triangle: free flow, wave", title_fontsize=8)
    finish(ax, "Fundamental diagram, 5-minute means", "density (vehicles per km and lane)", "flow (per hour and lane)")


def draw_map(ax: Axes, traffic: TrafficSimulation, figure: Figure) -> None:
    """Speed at all detectors at the moment of the week with most congestion."""
    moment = int(traffic.speed.mean(axis=1).argmin())
    cells = traffic.network.road_cells
    ax.plot(*traffic.network.position[cells].T, ".", color="#D8D8D8", markersize=2, zorder=1)
    image = ax.scatter(
        *traffic.position.T, c=traffic.speed[moment], s=16, cmap="RdYlBu", vmin=0, vmax=70, zorder=2, edgecolors=GREY,
        linewidths=0.3,
    )  # fmt: skip
    ax.set_aspect("equal")
    figure.colorbar(image, ax=ax, label="speed (mph)", shrink=0.8, pad=0.01)
    time = traffic.time[moment].astype("datetime64[s]").item()
    finish(ax, f"Speed at {len(traffic.cell)} detectors, {time:%A %H:%M}", "km", "km")


def draw_week(ax: Axes, traffic: TrafficSimulation, nodes: npt.NDArray[np.int64]) -> None:
    """Speed over the week at some detectors."""
    for node, color in zip(nodes, COLORS, strict=False):
        ax.plot(traffic.time, traffic.speed[:, node], color=color, linewidth=0.9, label=f"detector {node}")
    ax.xaxis.set_major_locator(DayLocator())
    ax.xaxis.set_major_formatter(DateFormatter("%a"))
    ax.set_ylim(0, 82)
    ax.legend(fontsize=8, frameon=False, labelcolor=INK, ncols=3, loc="upper center")
    finish(ax, "A week from Monday on", "", "speed (mph)")


def draw_corridor(ax: Axes, traffic: TrafficSimulation, figure: Figure) -> None:
    """Speed along the road and on the day with the longest congestion of nearly all of the road."""
    road = traffic.network.road[traffic.cell]
    slow = (traffic.speed < 45).reshape(-1, 288, road.size)
    long = [number for number in np.unique(road) if (road == number).sum() >= 5]
    full = np.stack([(slow[:, :, road == number].mean(axis=2) >= 0.8).sum(axis=1) for number in long])
    which, day = np.unravel_index(full.argmax(), full.shape)
    nodes = np.flatnonzero(road == long[which])
    along = traffic.road_distance[nodes[0], nodes]
    congested = np.flatnonzero(slow[day][:, nodes].mean(axis=1) >= 0.8)
    first, last = max(congested[0] - 24, 0), min(congested[0] + 48, 288)
    hours = (np.arange(first, last) + 0.5) / 12
    shown = traffic.speed[288 * day + first : 288 * day + last, nodes]
    image = ax.pcolormesh(hours, along, shown.T, cmap="RdYlBu", vmin=0, vmax=70, shading="nearest")
    wave = traffic.network.cells.wave_speed[0]
    begin = hours[0] + 0.2
    ax.plot([begin, begin + along[-1] / wave], [along[-1], 0], color="white", linewidth=1.5, linestyle="--")
    ax.text(begin + along[-1] / wave, 0, f" {wave:.0f} km/h upstream", fontsize=8, color="white")
    figure.colorbar(image, ax=ax, label="speed (mph)", pad=0.01)
    name = traffic.time[288 * day].astype("datetime64[s]").item()
    finish(ax, f"Along a road on {name:%A}", "hour of the day", "km in the direction of travel", grid="none")


def save_small(figure: Figure, path: Path) -> Path:
    """Write a figure with a palette, in half of the space."""
    save_figure(figure, path, dpi=DPI)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(255, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def finish(ax: Axes, title: str, xlabel: str, ylabel: str, grid: str = "both") -> None:
    """Put title and labels in the style of all figures."""
    ax.set_title(title, fontsize=10, color=INK, loc="left")
    ax.set_xlabel(xlabel, fontsize=9)
    ax.set_ylabel(ylabel, fontsize=9)
    style(ax, grid=grid)


def main(arguments: list[str] | None = None) -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description="Draw the traffic simulation.")
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder for the figure")
    print(draw_simulation(parser.parse_args(arguments).output / "traffic_simulation.png"))


if __name__ == "__main__":
    main()
