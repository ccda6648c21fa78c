"""The figures of the spectral layers show what the layers do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from tests.docs.pages import DOCS, script

NAMES = ("spectral_layers_response.png", "spectral_layers_field.png")


@pytest.fixture(scope="module")
def draw() -> Iterator[ModuleType]:
    yield from script("draw_spectral_layers")


def test_gain_of_a_known_filter(draw: ModuleType) -> None:
    def mean_of_two(x: torch.Tensor) -> torch.Tensor:
        return (x + x.roll(1, dims=-2)) / 2

    frequency, gain = draw.gain(mean_of_two, 32)
    np.testing.assert_allclose(frequency, np.arange(17) / 32)
    np.testing.assert_allclose(gain, np.cos(math.pi * frequency), atol=1e-12)


def test_gain_of_a_function_that_is_not_linear_is_that_of_its_derivative(draw: ModuleType) -> None:
    base = torch.full((16, draw.CHANNELS), 0.3, dtype=torch.float64)
    _, gain = draw.gain(torch.tanh, 16, base)
    np.testing.assert_allclose(gain, 1 - math.tanh(0.3) ** 2, rtol=1e-6)


def test_sensitivity_of_a_known_map(draw: ModuleType) -> None:
    weight = torch.arange(30, dtype=torch.float64).reshape(6, 5)
    field = draw.sensitivity(lambda x: weight @ x, torch.zeros(5, 3, dtype=torch.float64), 2)
    np.testing.assert_allclose(field, weight[2] * math.sqrt(3))  # the same in each of three channels


def test_the_drawn_filters_are_those_that_the_page_tells_of(draw: ModuleType) -> None:
    lines = draw._gains()
    for frequency, gain in lines["GlobalFilterMixing"].values():
        np.testing.assert_allclose(gain, frequency <= draw.CUTOFF, atol=1e-9)
    frequency, gain = lines["SpectralConv1d"]["17 modes, 96 tokens"]
    assert (gain[frequency > 16.5 / 96] < 1e-9).all()
    assert (gain[frequency < 16.5 / 96] > 0.5).all()
    _, added = lines["GraphFourierMixing"]["added part"]
    assert added[0] == pytest.approx(1, abs=1e-5)
    assert added[-1] == pytest.approx(0, abs=1e-5)


def test_every_panel_has_a_field(draw: ModuleType) -> None:
    layers = draw._sequence_layers()
    assert len(layers) == 20
    x = draw._noise(draw.FIELD, draw.CHANNELS)
    fields = {name: draw.sensitivity(layer, x, draw.FIELD // 2) for name, layer in layers.items()}
    assert all(np.isfinite(field).all() and field.max() > 0 for field in fields.values())
    np.testing.assert_allclose(fields["FourierMixing"], fields["FourierMixing"][0])
    assert fields["WaveletMixing"][[0, -1]].max() < 1e-2 * fields["WaveletMixing"].max()


@pytest.mark.parametrize("name", NAMES)
def test_the_figures_in_the_repository_are_small_and_legible(name: str) -> None:
    path = DOCS / "images" / name
    assert path.stat().st_size < 250_000
    with Image.open(path) as image:
        assert 900 <= image.width <= 1200


@pytest.mark.slow
def test_two_runs_draw_the_same(draw: ModuleType, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        draw.main(["--output", str(tmp_path / folder)])
    for name in NAMES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
