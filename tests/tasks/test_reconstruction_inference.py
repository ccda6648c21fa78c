"""What trained autoencoders do: fill gaps, embed, evaluate; and gaps of networks from neighbours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from stgraph.data import from_array
from stgraph.errors import CheckpointError, InputError
from stgraph.tasks.reconstruction_data import ReconstructionData, hold_out, split_series
from stgraph.tasks.reconstruction_inference import LoadedReconstruction, write_filled
from stgraph.tasks.reconstruction_options import ReconstructionOptions
from stgraph.tasks.reconstruction_run import train_reconstruction
from tests.tasks.small_reconstructions import make_curves, reconstruction_options, write_curves


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with an uncertainty on light curves of their own times."""
    folder = tmp_path_factory.mktemp("inference")
    write_curves(folder)
    options = reconstruction_options(folder)
    options.data.steps, options.model.uncertainty = 16, True
    train_reconstruction(options)
    return LoadedReconstruction(folder / "run")


def network(nodes=12, steps=48, missing=0.2, seed=0):
    """Nodes on a line that share two slow signals, with missing values."""
    generator = np.random.default_rng(seed)
    place = np.linspace(0, 1, nodes)
    time = np.arange(steps)
    shared = np.stack([np.sin(time / 3.0), np.cos(time / 5.0)])
    values = (np.stack([1 - place, place]).T @ shared).T + 0.05 * generator.standard_normal((steps, nodes))
    values[generator.random(values.shape) < missing] = np.nan
    return from_array(values, coords=np.stack([place, place**2], axis=1), time=time.astype(float))


def network_options(folder):
    data = network()
    array = np.where(data.mask, data.x, np.nan)[..., 0].T
    np.savez(folder / "network.npz", values=array, coords=data.pos.numpy(), time=np.arange(48.0))
    options = ReconstructionOptions(output=str(folder / "network"))
    options.data.path, options.data.steps, options.data.batch_size = str(folder / "network.npz"), 16, 8
    options.data.split_by, options.data.k, options.data.scaling = "entries", 3, "standard"
    options.data.max_held_block = 4
    options.model.name, options.model.neighbors = "mlp", 2
    options.model.arguments = {"encoder_hidden_dims": [16], "latent_dim": 8}
    options.optimizer.learning_rate = 1e-2
    options.trainer.max_epochs, options.trainer.accelerator = 30, "cpu"
    options.trainer.tensorboard = options.trainer.progress_bar = False
    return options


def test_filled_curves_keep_what_was_observed_and_have_no_long_steps(run):
    data = run.read()
    filled = run.fill(data)
    for i in range(len(data.length)):
        real = filled.real[i]
        observed = filled.observed[i, :, 0]
        count = int(data.length[i])
        assert torch.equal(filled.time[i][observed], data.time[i, :count])
        assert torch.equal(filled.values[i][observed], data.x[i, :count])
        step = torch.diff(data.time[i, :count]).median()
        assert torch.diff(filled.time[i][real]).max() < 1.5 * step
    assert (filled.deviation[filled.observed] == 0).all()
    assert (filled.deviation[~filled.observed & filled.real[..., None]] > 0).all()
    # Reconstructions are in the units of the data, near the level of the curves.
    assert (filled.values[filled.real] - 10).abs().max() < 5


def test_filled_series_are_written_as_a_table_and_as_arrays(run, tmp_path):
    data = run.read()
    filled = run.fill(data)
    write_filled(tmp_path / "filled.csv", filled, data)
    table = pd.read_csv(tmp_path / "filled.csv")
    assert list(table) == ["series", "time", "channel", "value", "standard_deviation", "observed"]
    assert len(table) == int(filled.real.sum())
    assert set(table["series"]) == set(data.node_names)
    write_filled(tmp_path / "filled.npz", filled, data)
    with np.load(tmp_path / "filled.npz") as arrays:
        assert np.array_equal(arrays["values"], filled.values.numpy())
        assert np.array_equal(arrays["observed"], filled.observed.numpy())
    with pytest.raises(InputError, match=r"\.npz or \.csv"):
        write_filled(tmp_path / "filled.txt", filled, data)


@pytest.mark.parametrize(("pooling", "factor"), [("mean", 1), ("max", 1), ("multiscale", 12)])
def test_every_series_has_a_latent_vector(run, pooling, factor):
    data = run.read()
    latents = run.embed(data, pooling)
    assert latents.shape == (len(data.length), 8 * factor)
    assert torch.isfinite(latents).all()
    # A series has the same vector whatever stands beside it.
    from stgraph.data.light_curves import select_curves

    alone = run.embed(select_curves(data, torch.tensor([3])), pooling)
    torch.testing.assert_close(alone, latents[3:4], rtol=1e-4, atol=1e-5)


def test_evaluation_repeats_the_errors_of_the_run(run):
    import json

    stored = json.loads(run.folder.results.read_text())
    found = run.evaluate()
    assert found["errors"]["hidden"]["mse"] == pytest.approx(stored["errors"]["hidden"]["mse"])
    assert found["uncertainty"]["hidden_coverage_0.9"] == pytest.approx(stored["uncertainty"]["hidden_coverage_0.9"])


def test_another_file_is_evaluated_whole(run, tmp_path):
    path = write_curves(tmp_path, count=6, seed=5)
    found = run.evaluate(str(path), table=tmp_path / "errors.csv")
    assert set(pd.read_csv(tmp_path / "errors.csv")["series"]) == {f"star {i}" for i in range(6)}
    assert found["errors"]["all"]["count"] >= int(make_curves(count=6, seed=5).length.sum())


def test_data_of_another_kind_or_width_is_refused(run, tmp_path):
    np.save(tmp_path / "series.npy", np.random.default_rng(0).random((20, 3)))
    with pytest.raises(InputError, match="holds series; the run was trained on light_curves"):
        run.read(str(tmp_path / "series.npy"))
    run.model.channels = 2
    try:
        with pytest.raises(CheckpointError, match="takes 2 channels; the data has 1"):
            run.read()
    finally:
        run.model.channels = 1


def test_final_features_of_two_directions(tmp_path):
    write_curves(tmp_path)
    options = reconstruction_options(tmp_path)
    options.model.name, options.model.uncertainty = "bidirectional_mingru", True
    options.model.arguments, options.trainer.max_epochs = {"hidden_channels": 4}, 1
    train_reconstruction(options)
    run = LoadedReconstruction(tmp_path / "run")
    data = run.read()
    short = torch.nonzero(data.length <= 32).flatten()
    found = run.embed(data, "final")[short]
    for batch in run._loader(run.scaled(data)):
        encoded = run.model(batch)["encoded"]
        for row, node in enumerate(batch.node.tolist()):
            if node in short.tolist():
                last = int(data.length[node]) - 1
                expected = torch.cat([encoded[row, last, :4], encoded[row, 0, 4:]])
                torch.testing.assert_close(found[short.tolist().index(node)], expected)


def test_longest_gap_of_series_with_common_times(tmp_path):
    options = network_options(tmp_path)
    options.trainer.max_epochs = 1
    train_reconstruction(options)
    run = LoadedReconstruction(tmp_path / "network")
    with pytest.raises(InputError, match="max_gap is for series with times of their own"):
        run.fill(run.read(), max_gap=3.0)


def test_neighbours_fill_a_network_better_than_a_line_and_the_mean(tmp_path):
    options = network_options(tmp_path)
    results = train_reconstruction(options)
    hidden = results["errors"]["hidden"]["mse"]
    assert hidden < 0.5 * results["baselines"]["linear_interpolation"]["hidden"]["mse"]
    assert hidden < 0.5 * results["baselines"]["zero"]["hidden"]["mse"]
    loaded = LoadedReconstruction(tmp_path / "network")
    data = loaded.read()
    filled = loaded.fill(data)
    assert filled.values.shape == data.x.shape
    assert torch.equal(filled.values[data.mask], data.x[data.mask])
    place = torch.linspace(0, 1, 12)[:, None]
    time = torch.arange(48.0)
    truth = (1 - place) * torch.sin(time / 3) + place * torch.cos(time / 5)
    gaps = ~data.mask[..., 0]
    assert (filled.values[..., 0] - truth)[gaps].square().mean() < 0.1 * truth.square().mean()


def test_held_out_entries_are_unknown_to_training(tmp_path):
    options = network_options(tmp_path)
    data = network()
    made = ReconstructionData(data, options.resolved())
    val, test = made.held["val"], made.held["test"]
    assert not (val & test).any()
    assert not ((val | test) & ~data.mask).any()
    train = made.stage_data("train")
    assert not (train.mask & (val | test)).any()
    assert torch.equal(train.mask | val | test, data.mask)
    for stage, held in (("val", val), ("test", test)):
        shown = torch.zeros_like(data.mask)
        for batch in made.loader(stage):
            count = batch.batch_size
            for row in range(count):
                start = int(batch.start[row])
                shown[batch.node[row], start : start + 16] |= batch.hidden[row]
        assert torch.equal(shown, held)
    # What is held out has no influence on centre and scale.
    changed = data.clone()
    changed.x = torch.where(val | test, data.x + 100, data.x)
    other = ReconstructionData(changed, options.resolved())
    assert torch.equal(other.data.center, made.data.center)
    assert torch.equal(other.data.scale, made.data.scale)


def test_shares_of_held_out_entries():
    data = from_array(np.random.default_rng(0).random((400, 30)), coords=np.random.default_rng(1).random((30, 2)))
    held = hold_out(data, val=0.1, test=0.2, max_block=8, seed=0)
    assert float(held["test"].float().mean()) == pytest.approx(0.2, abs=0.02)
    assert float(held["val"].float().mean()) == pytest.approx(0.1, abs=0.02)


def test_all_curves_of_a_star_are_in_one_stage():
    data = make_curves(count=30)
    data.metadata = {"star": np.repeat(np.arange(10), 3)}
    stages = split_series(data, 0.2, 0.2, seed=3)
    stars = {stage: set(data.metadata["star"][nodes].tolist()) for stage, nodes in stages.items()}
    assert [len(stars[s]) for s in ("train", "val", "test")] == [6, 2, 2]
    assert set.union(*stars.values()) == set(range(10))
    assert sorted(torch.cat(list(stages.values())).tolist()) == list(range(30))


def test_shuffled_edges_are_other_edges_of_the_same_degree(tmp_path):
    options = network_options(tmp_path).resolved()
    data = network()
    true = ReconstructionData(data, options).data.edge_index
    options = dataclasses.replace(options, data=dataclasses.replace(options.data, shuffle_edges=True))
    other = ReconstructionData(data, options).data.edge_index
    assert torch.equal(true[1], other[1])
    assert not (other[0] == other[1]).any()
    assert (true[0] != other[0]).float().mean() > 0.5


def test_intervals_of_filled_gaps_cover_what_they_say(tmp_path):
    generator = np.random.default_rng(0)
    spread = np.where(np.arange(16) < 8, 0.3, 1.7)
    np.savez(
        tmp_path / "noise.npz",
        values=spread[:, None] * generator.standard_normal((16, 400)),
        coords=generator.random((400, 2)),
        time=np.arange(16.0),
    )
    options = ReconstructionOptions(output=str(tmp_path / "run"))
    options.data.path, options.data.steps, options.data.batch_size = str(tmp_path / "noise.npz"), 16, 16
    options.data.scaling, options.data.test, options.loss.hidden_weight = "none", 0.25, 1.0
    options.model.name, options.model.uncertainty = "mlp", True
    options.model.arguments = {"encoder_hidden_dims": [16], "latent_dim": 4}
    options.optimizer.learning_rate, options.trainer.max_epochs = 1e-2, 20
    options.trainer.accelerator, options.trainer.tensorboard, options.trainer.progress_bar = "cpu", False, False
    found = train_reconstruction(options)["uncertainty"]
    for level in (0.5, 0.68, 0.9, 0.95):
        assert found[f"hidden_coverage_{level}"] == pytest.approx(level, abs=0.05)
    # The entropy of the noise is the best that can be reached, up to what is lost to training.
    entropy = 0.5 * np.log(2 * np.pi * np.e) + np.log(spread).mean()
    assert found["hidden_nll"] == pytest.approx(entropy, abs=0.1)
