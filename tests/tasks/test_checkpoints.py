from __future__ import annotations

import pickle

import pytest
import torch
from lightning.pytorch import Trainer

from stgraph.errors import CheckpointError, InputError
from stgraph.models import MODELS
from stgraph.tasks.checkpoints import (
    AtomicCheckpointIO,
    build_model,
    load_forecaster,
    read_checkpoint,
    write_atomically,
)
from tests.tasks.stand_in import MLPForecaster


def test_a_failing_writer_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "value.txt"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_sees_another_name_with_the_same_ending(tmp_path):
    seen = []

    def write(temporary):
        seen.append(temporary)
        temporary.write_text("new")

    write_atomically(tmp_path / "deep" / "value.npy", write)
    assert (tmp_path / "deep" / "value.npy").read_text() == "new"
    assert seen[0].suffix == ".npy"
    assert seen[0] != tmp_path / "deep" / "value.npy"


def test_checkpoint_io_round_trip_and_atomicity(tmp_path, monkeypatch):
    plugin, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    plugin.save_checkpoint({"a": torch.ones(2)}, path)
    assert torch.equal(plugin.load_checkpoint(path)["a"], torch.ones(2))

    def broken(checkpoint, target):
        target.write_bytes(b"half")
        raise RuntimeError("killed")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(RuntimeError, match="killed"):
        plugin.save_checkpoint({}, path)
    assert torch.equal(plugin.load_checkpoint(path, weights_only=False)["a"], torch.ones(2))


def test_trainer_takes_the_plugin():
    trainer = Trainer(plugins=[AtomicCheckpointIO()], accelerator="cpu", logger=False, enable_checkpointing=False)
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)


class Harmful:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"no checkpoint at all" * 50])
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.ckpt cannot be read"):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = tmp_path / "x.ckpt"
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(path)


@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_code_in_a_file_is_never_run(tmp_path, capsys, save):
    path = tmp_path / "x.ckpt"
    if save == "torch":
        torch.save({"a": Harmful()}, path)
    else:
        path.write_bytes(pickle.dumps({"a": Harmful()}))
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


def test_other_content_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="holds a list"):
        read_checkpoint(tmp_path / "x.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "y.ckpt")
    with pytest.raises(CheckpointError, match="does not say which model"):
        load_forecaster(tmp_path / "y.ckpt")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read_checkpoint(tmp_path / "none.ckpt")


@pytest.fixture
def description(monkeypatch):
    monkeypatch.setitem(MODELS, "mlp", "tests.tasks.stand_in:MLPForecaster")
    return {"name": "mlp", "arguments": {"in_channels": 1, "input_steps": 4, "horizon": 2, "width": 3}}


def checkpoint_of(model, description):
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    return {"stgraph": {"model": description}, "state_dict": {**state, "val_metrics.count": torch.zeros(1)}}


def test_a_model_is_built_again_from_its_checkpoint(tmp_path, description):
    model = build_model(description)
    assert isinstance(model, MLPForecaster)
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(checkpoint_of(model, description), folder / "best.ckpt")
    for path in (folder / "best.ckpt", tmp_path / "run"):
        loaded = load_forecaster(path)
        assert not loaded.training
        for name, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value)


def test_weights_of_another_shape_are_refused(tmp_path, description):
    model = build_model(description)
    other = {**description, "arguments": {**description["arguments"], "width": 5}}
    torch.save(checkpoint_of(model, other), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="does not fit its model"):
        load_forecaster(tmp_path / "x.ckpt")


def test_an_unknown_model_is_refused(tmp_path):
    torch.save(checkpoint_of(MLPForecaster(1, 4, 2), {"name": "spectrante", "arguments": {}}), tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="did you mean 'spectranet'"):
        load_forecaster(tmp_path / "x.ckpt")
