"""The figures of the page on light curves show what the page tells of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from tests.docs.pages import DOCS, script

NAMES = ("light_curves_period.png", "light_curves_filled.png")


@pytest.fixture(scope="module")
def draw() -> Iterator[ModuleType]:
    yield from script("draw_light_curves")


def test_the_star_has_a_seasonal_gap_and_its_period_is_found(draw: ModuleType) -> None:
    star = draw.rotating_star()
    found, true = draw.find_period(star), float(star.metadata["rotation_period"][0])
    assert star.time[0].diff().max() > 150
    assert float(found.period) == pytest.approx(true, rel=0.01)
    assert float(found.pvalue) < 0.01 / star.time.shape[1]
    assert bool(found.harmonic_flag)
    assert float(found.second_period) == pytest.approx(true / 2, rel=0.01)


def test_lines_are_drawn_at_hidden_points_and_their_neighbours(draw: ModuleType) -> None:
    hidden = np.array([False, False, True, True, False, False, True])
    np.testing.assert_array_equal(draw._blocks(hidden), [False, True, True, True, True, True, True])


@pytest.mark.slow
def test_two_runs_draw_the_same(draw: ModuleType, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        draw.draw_period(tmp_path / folder / NAMES[0])
    assert (tmp_path / "first" / NAMES[0]).read_bytes() == (tmp_path / "second" / NAMES[0]).read_bytes()


def test_a_trained_network_fills_blocks_of_other_curves(draw: ModuleType, tmp_path: Path) -> None:
    path = draw.draw_filled(tmp_path / NAMES[1], epochs=1, trained=16, held_out=4)
    assert path.stat().st_size > 10_000
    curves = draw.mock_curves(8)
    filled = draw.fill(draw.train(curves, torch.arange(4), epochs=1), curves, torch.arange(4, 8))
    assert filled.mean.shape == filled.deviation.shape == filled.line.shape == filled.value.shape
    assert (filled.hidden.sum(dim=1) > 0).all()
    assert not (filled.hidden & ~filled.real).any()
    assert (filled.deviation > 0).all()
    seen = filled.real & ~filled.hidden
    torch.testing.assert_close(filled.line[seen], filled.value[seen])


@pytest.mark.parametrize("name", NAMES)
def test_the_figures_in_the_repository_are_small_and_legible(name: str) -> None:
    path = DOCS / "images" / name
    assert path.stat().st_size < 150_000
    with Image.open(path) as image:
        assert 900 <= image.width <= 1200
