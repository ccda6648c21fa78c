from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from stgraph.errors import InputError
from stgraph.report import latents as latents_module
from stgraph.report.latents import latent_picture, project_latents


@pytest.fixture
def groups():
    """Two clouds of 12 far apart in one direction."""
    rng = np.random.default_rng(0)
    label = np.repeat(["a", "b"], 12)
    return rng.normal(size=(24, 5)) + 30 * (label == "b")[:, None], label


def drawn(figure):
    """Points of each collection by its label."""
    return {c.get_label(): np.asarray(c.get_offsets()) for c in figure.axes[0].collections}


def test_principal_components_are_those_of_standardised_latents(groups):
    latents, _ = groups
    places, index, names = project_latents(torch.from_numpy(latents))
    scaled = (latents - latents.mean(0)) / latents.std(0)
    left, size, _ = np.linalg.svd(scaled, full_matrices=False)
    np.testing.assert_allclose(np.abs(places), np.abs(left[:, :2] * size[:2]), atol=1e-9)
    np.testing.assert_array_equal(index, np.arange(24))
    share = size**2 / (size**2).sum()
    assert names == tuple(f"Component {i + 1} ({100 * share[i]:.0f} % of variance)" for i in range(2))


def test_colours_of_classes(groups):
    latents, label = groups
    figure = latent_picture(latents, np.where(np.arange(24) == 5, "", label), color_name="Class")
    figure.canvas.draw()
    found = drawn(figure)
    assert {name: len(points) for name, points in found.items()} == {"unknown": 1, "a": 11, "b": 12}
    np.testing.assert_allclose(found["b"], project_latents(latents)[0][12:])
    colors = {c.get_label(): to_hex(c.get_facecolor()[0]) for c in figure.axes[0].collections}
    assert len(set(colors.values())) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["unknown", "a", "b"]
    assert figure.axes[0].get_title() == "PCA of 24 latent vectors"


def test_many_classes_differ_in_colour_or_marker():
    latents = np.random.default_rng(0).normal(size=(36, 3))
    figure = latent_picture(latents, [f"class {i:02d}" for i in range(36)])
    looks = {(to_hex(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in figure.axes[0].collections}
    assert len(looks) == 36
    with pytest.raises(InputError, match="color has 37 classes; expected at most 36"):
        latent_picture(np.ones((37, 2)) * np.arange(37)[:, None], [f"{i}" for i in range(37)])


def test_colours_of_numbers(groups):
    latents, _ = groups
    period = np.geomspace(1, 100, 24)
    period[[2, 3]] = [np.nan, -1.0]
    figure = latent_picture(latents, period, color_name="Period", color_unit="days", log_color=True)
    figure.canvas.draw()
    unknown, known = figure.axes[0].collections
    assert len(unknown.get_offsets()) == 2
    np.testing.assert_array_equal(known.get_array(), np.delete(period, [2, 3]))
    assert figure.axes[1].get_ylabel() == "Period (days)"
    assert figure.axes[1].get_yscale() == "log"
    linear = latent_picture(latents, torch.arange(24))
    assert linear.axes[1].get_yscale() == "linear"
    plain = latent_picture(latents, title="All")
    assert len(plain.axes) == 1
    assert plain.axes[0].get_title() == "All"


def test_tsne_repeats_itself_and_draws_a_sample_of_many(groups, monkeypatch):
    latents, label = groups
    places, index, names = project_latents(latents, "tsne", seed=3)
    np.testing.assert_array_equal(project_latents(latents, "tsne", seed=3)[0], places)
    assert names == ("t-SNE 1", "t-SNE 2")
    # Each point's nearest is of its own cloud.
    distance = np.linalg.norm(places[:, None] - places, axis=-1) + 1e9 * np.eye(24)
    assert (label[distance.argmin(1)] == label).all()
    monkeypatch.setattr(latents_module, "_MAX_TSNE_POINTS", 10)
    monkeypatch.setattr(latents_module, "_tsne", lambda x, seed: x[:, :2])
    places, index, _ = project_latents(latents, "tsne", seed=3)
    assert len(set(index)) == len(places) == 10
    np.testing.assert_array_equal(project_latents(latents, "tsne", seed=3)[1], index)
    assert project_latents(latents, "tsne", seed=4)[1].tolist() != index.tolist()
    figure = latent_picture(latents, label, method="tsne", seed=3)
    assert {n: len(p) for n, p in drawn(figure).items()} == {n: (label[index] == n).sum() for n in ("a", "b")}


@pytest.mark.parametrize(("rows", "neighbors"), [(24, 15), (6, 5)])
def test_umap_is_given_the_usual_arguments(monkeypatch, rows, neighbors):
    class Stub:
        def __init__(self, **arguments):
            self.arguments = arguments

        def fit_transform(self, x):
            assert self.arguments == {"n_neighbors": neighbors, "min_dist": 0.1, "random_state": 7, "n_jobs": 1}
            return x[:, :2].astype(np.float32)

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Stub))
    latents = np.random.default_rng(0).normal(size=(rows, 3))
    places, _, names = project_latents(latents, "umap", seed=7)
    assert places.shape == (rows, 2)
    assert names == ("UMAP 1", "UMAP 2")


def test_without_umap_the_extra_is_named(monkeypatch, groups):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r'pip install "stgraph-pyg\[umap\]"'):
        latent_picture(groups[0], method="umap")


@pytest.mark.slow
def test_umap_itself_repeats_itself_and_keeps_clouds_apart(groups):
    pytest.importorskip("umap")
    latents, label = groups
    places, _, _ = project_latents(latents, "umap")
    np.testing.assert_array_equal(project_latents(latents, "umap")[0], places)
    distance = np.linalg.norm(places[:, None] - places, axis=-1) + 1e9 * np.eye(24)
    assert (label[distance.argmin(1)] == label).mean() > 0.9


def test_wrong_input_is_named(groups):
    latents, label = groups
    bad = latents.copy()
    bad[3, 1] = np.nan
    for call, message in [
        (lambda: latent_picture(latents, label, method="mds"), "method is 'mds'"),
        (lambda: latent_picture(latents, label[:3]), r"color has shape \(3,\); expected \(24,\)"),
        (lambda: latent_picture(latents[:2]), r"latents has shape \(2, 5\)"),
        (lambda: latent_picture(latents[:, :1]), r"latents has shape \(24, 1\)"),
        (lambda: latent_picture(bad), "latents has 1 vectors that are not finite"),
        (lambda: latent_picture(np.ones((5, 3))), "latents are all the same"),
    ]:
        with pytest.raises(InputError, match=message):
            call()
