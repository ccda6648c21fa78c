"""The configurations of fusion runs that come with the project."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from stgraph.cli.main import parse_command
from stgraph.tasks.fusion_options import FUSION_PRESETS, FusionOptions

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def read(name):
    return parse_command("fuse run", [str(CONFIGS / f"fusion_{name}.yaml")])


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("fusion_*.yaml")), ids=lambda path: path.stem)
def test_configurations_can_be_used_and_are_stored_whole(path):
    options = read(path.stem.removeprefix("fusion_"))
    options.check()
    resolved = options.resolved()
    resolved.check()
    assert FusionOptions.from_dict(dataclasses.asdict(resolved)) == resolved
    assert options.output_dir == f"outputs/{path.stem}"


def test_the_published_configuration_is_that_of_the_published_tables():
    options = read("published").resolved()
    assert {name: getattr(options, name) for name in FUSION_PRESETS["published"]} == FUSION_PRESETS["published"]
    default = FusionOptions()
    for name in ("snr_spatial", "snr_spectral", "hidden_size", "epochs", "init_lr", "max_lr", "final_lr", "sigma"):
        assert getattr(options, name) == getattr(default, name), name


def test_the_blur_of_real_images_is_estimated():
    options = read("real").resolved()
    assert options.estimate_psf
    assert options.match_radiometry
    assert (options.correction, options.denoise, options.members) == ("guided", True, 3)
