from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import backprojection as module
from stgraph.ops.fusion import psf_kernel
from stgraph.ops.fusion.backprojection import back_project, back_project_graph
from stgraph.ops.fusion.observation import observation_graph, observe

PSF = psf_kernel("gaussian", 1.5, 3)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pixels(image: Tensor) -> Tensor:
    return image.flatten(1).T


@pytest.mark.parametrize("upsample", ["bicubic", "adjoint"])
def test_the_truth_stays(upsample: str) -> None:
    truth = random(3, 12, 8)
    corrected = back_project(truth, observe(truth, PSF, 4), PSF, 4, steps=2, upsample=upsample)  # type: ignore[arg-type]
    torch.testing.assert_close(corrected, truth)


@pytest.mark.parametrize("upsample", ["bicubic", "adjoint"])
@pytest.mark.parametrize("boundary", ["reflect", "replicate"])
def test_a_constant_error_is_taken_away(upsample: str, boundary: str) -> None:
    truth = random(3, 12, 8)
    coarse = observe(truth, PSF, 4, boundary)  # type: ignore[arg-type]
    corrected = back_project(
        truth + 0.3,
        coarse,
        PSF,
        4,
        upsample=upsample,  # type: ignore[arg-type]
        boundary=boundary,  # type: ignore[arg-type]
    )
    if upsample == "bicubic":
        torch.testing.assert_close(corrected, truth)
    else:  # pixels that are hardly seen may be corrected by less, but not by more
        assert bool(((corrected - truth) > -1e-9).all())
        torch.testing.assert_close(corrected[:, 4:8, 3:5], truth[:, 4:8, 3:5])


@pytest.mark.parametrize("upsample", ["bicubic", "adjoint"])
def test_steps_lessen_what_the_observation_misses(upsample: str) -> None:
    truth, estimate = random(2, 16, 16), random(2, 16, 16, seed=1)
    coarse = observe(truth, PSF, 2)
    misses = [
        float((coarse - observe(back_project(estimate, coarse, PSF, 2, steps=n, upsample=upsample), PSF, 2)).norm())  # type: ignore[arg-type]
        for n in (0, 1, 3, 10)
    ]
    assert misses == sorted(misses, reverse=True)
    assert misses[-1] < 0.3 * misses[0]


def test_without_blur_one_step_is_exact_and_relax_takes_a_share() -> None:
    estimate, coarse, delta = random(2, 6, 9), random(2, 2, 3, seed=1), psf_kernel("delta", half_size=1)
    corrected = back_project(estimate, coarse, delta, 3, upsample="adjoint")
    torch.testing.assert_close(observe(corrected, delta, 3), coarse)
    half = back_project(estimate, coarse, delta, 3, upsample="adjoint", relax=0.5)
    torch.testing.assert_close(half, (estimate + corrected) / 2)


@pytest.mark.parametrize("boundary", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize(("height", "width"), [(12, 8), (13, 10)])
def test_messages_are_the_convolution_form(boundary: str, height: int, width: int) -> None:
    estimate, coarse = random(3, height, width), random(3, height // 4, width // 4, seed=1)
    expected = back_project(estimate, coarse, PSF, 4, steps=2, upsample="adjoint", boundary=boundary)  # type: ignore[arg-type]
    edges = observation_graph(height, width, PSF, 4, boundary)  # type: ignore[arg-type]
    corrected = back_project_graph(pixels(estimate), pixels(coarse), *edges, steps=2)
    torch.testing.assert_close(corrected, pixels(expected))


def test_coarse_nodes_without_data_send_nothing() -> None:
    estimate, coarse = random(144, 3), random(9, 3, seed=1)
    edge_index, edge_weight = observation_graph(12, 12, PSF, 4)
    mask = torch.ones(9, dtype=torch.bool)
    mask[[0, 4]] = False
    corrected = back_project_graph(
        estimate, coarse.masked_fill(~mask[:, None], torch.nan), edge_index, edge_weight, mask=mask
    )
    assert bool(corrected.isfinite().all())
    # The same as where the edges of these nodes are not there.
    kept = mask[edge_index[1]]
    without = back_project_graph(estimate, coarse, edge_index[:, kept], edge_weight[kept])
    torch.testing.assert_close(corrected, without)
    silent = back_project_graph(estimate, coarse, edge_index, edge_weight, mask=torch.zeros_like(mask))
    assert torch.equal(silent, estimate)
    by_band = mask[:, None] & torch.tensor([True, False, True])
    parts = back_project_graph(estimate, coarse, edge_index, edge_weight, mask=by_band)
    torch.testing.assert_close(parts[:, [0, 2]], corrected[:, [0, 2]])
    assert torch.equal(parts[:, 1], estimate[:, 1])


def test_some_bands_at_a_time_and_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    estimate, coarse = random(7, 12, 8), random(7, 3, 2, seed=1)
    before = estimate.clone()
    whole = back_project(estimate, coarse, PSF, 4)
    assert torch.equal(estimate, before)
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 200)
    torch.testing.assert_close(back_project(estimate, coarse, PSF, 4), whole, atol=1e-12, rtol=0)
    assert back_project(estimate, coarse, PSF, 4, out=estimate) is estimate
    torch.testing.assert_close(estimate, whole, atol=1e-12, rtol=0)


def test_bad_input() -> None:
    estimate, coarse = random(3, 12, 8), random(3, 3, 2)
    with pytest.raises(InputError, match="estimate must have 2 times"):
        back_project(estimate, coarse, PSF, 2)
    with pytest.raises(InputError, match="3 bands of lr_hsi"):
        back_project(estimate[:2], coarse, PSF, 4)
    with pytest.raises(InputTypeError, match="one dtype"):
        back_project(estimate.float(), coarse, PSF, 4)
    with pytest.raises(InputError, match="estimate must have the shape"):
        back_project(estimate[None], coarse, PSF, 4)
    with pytest.raises(InputError, match="steps"):
        back_project(estimate, coarse, PSF, 4, steps=-1)
    with pytest.raises(InputError, match="relax"):
        back_project(estimate, coarse, PSF, 4, relax=2.0)
    with pytest.raises(InputError, match="upsample must be one of bicubic, adjoint"):
        back_project(estimate, coarse, PSF, 4, upsample="nearest")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="out must be like"):
        back_project(estimate, coarse, PSF, 4, out=estimate[:2])


def test_bad_graphs() -> None:
    estimate, coarse, edges = random(4, 2), random(1, 2), torch.tensor([[0, 1], [0, 0]])
    weight = torch.full((2,), 0.5)
    with pytest.raises(InputError, match="must number 4 sharp and 1 coarse"):
        back_project_graph(estimate, coarse, edges.flip(0), weight)
    with pytest.raises(InputError, match="edge_weight"):
        back_project_graph(estimate, coarse, edges, weight[:1])
    with pytest.raises(InputError, match="of one width"):
        back_project_graph(estimate, coarse[:, :1], edges, weight)
    with pytest.raises(InputTypeError, match="float64"):
        back_project_graph(estimate, coarse.long(), edges, weight)
    with pytest.raises(InputTypeError, match="mask must be bool"):
        back_project_graph(estimate, coarse, edges, weight, mask=torch.ones(1))
    with pytest.raises(InputError, match="mask must have the shape"):
        back_project_graph(estimate, coarse, edges, weight, mask=torch.ones(2, dtype=torch.bool))
