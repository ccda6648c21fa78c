"""Options of ``stgraph fuse`` from files and flags."""

from __future__ import annotations

import json

import pytest

from stgraph.cli.main import main, parse_command
from stgraph.errors import InputError


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "fusion.yaml"
    path.write_text("epochs: 5\ninit_lr: 1e-4\nspec_prior: null\nwavelengths: stretched\nsnr_spatial: .inf\n")
    return str(path)


@pytest.mark.parametrize("words", [["FILE"], ["--config", "FILE"], ["--config=FILE"]])
def test_a_file_gives_options(config, words):
    options = parse_command("fuse run", [word.replace("FILE", config) for word in words])
    assert (options.epochs, options.init_lr, options.spec_prior) == (5, 1e-4, None)
    assert (options.wavelengths, options.snr_spatial) == ("stretched", float("inf"))
    assert options.hidden_size == 1024


@pytest.mark.parametrize(
    "words", [["FILE", "--epochs", "7"], ["--epochs", "7", "FILE"], ["--epochs=7", "--config", "FILE"]]
)
def test_flags_win_wherever_they_are(config, words):
    options = parse_command("fuse run", [word.replace("FILE", config) for word in words])
    assert (options.epochs, options.init_lr) == (7, 1e-4)


def test_json_and_flags_alone_give_the_same(tmp_path):
    path = tmp_path / "fusion.json"
    path.write_text(json.dumps({"synthetic": False, "wavelengths": [400, 900], "crop": True}))
    flags = ["--synthetic", "false", "--wavelengths", "400,900", "--crop"]
    assert parse_command("fuse run", [str(path)]) == parse_command("fuse run", flags)


def test_switches_without_a_default_need_no_value():
    for words, expected in (([], None), (["--denoise"], True), (["--denoise", "false"], False)):
        options = parse_command("fuse run", [*words, "--epochs", "3"])
        assert (options.denoise, options.epochs) == (expected, 3)
    assert parse_command("fuse run", ["--denoise", "null"]).denoise is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 5", "unknown key 'epoch' in the configuration; did you mean epochs?"),
        ("num_endmember: 5", "unknown key 'num_endmember' in the configuration; did you mean num_endmembers?"),
        ("psf_type: gaus", "psf_type is gaus; expected 'gaussian'"),
        ("- 1", "Unexpected config"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        parse_command("fuse run", [str(path)])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epoch", "5"], "unknown option --epoch; did you mean --epochs?"),
        (["--epoch=5"], "unknown option --epoch; did you mean --epochs?"),
        (["none.yaml"], "config: file does not exist: "),
        (["--config"], "config"),
    ],
)
def test_flags_that_cannot_be_used(words, message, capsys):
    assert main(["fuse", "run", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_commands_are_listed(capsys):
    assert main(["fuse"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in ("run", "simulate", "metrics"))
