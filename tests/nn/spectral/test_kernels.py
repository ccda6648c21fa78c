from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy import integrate
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.spectral.kernels import (
    GaussianRFFKernel,
    KernelFunction,
    LaplacianRFFKernel,
    LearnableSpectralKernel,
    OrthogonalRandomFeatures,
    PolynomialKernel,
    PolynomialSpectralKernel,
    RandomFeatureMap,
    RFFAttentionKernel,
    ShiftInvariantKernel,
)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


MAPS: dict[str, Callable[..., RandomFeatureMap]] = {
    "gaussian": GaussianRFFKernel,
    "gaussian, cos and sin": lambda d, m, **o: GaussianRFFKernel(d, m, use_cos_sin=True, **o),
    "gaussian, orthogonal": lambda d, m, **o: GaussianRFFKernel(d, m, orthogonal=True, **o),
    "laplacian": LaplacianRFFKernel,
    "laplacian, cos and sin": lambda d, m, **o: LaplacianRFFKernel(d, m, use_cos_sin=True, **o),
    "orthogonal": OrthogonalRandomFeatures,
    "hadamard": lambda d, m, **o: OrthogonalRandomFeatures(d, m, use_hadamard=True, **o),
    "softmax": RFFAttentionKernel,
    "positive gaussian": lambda d, m, **o: RFFAttentionKernel(d, m, "gaussian", **o),
    "relu": lambda d, m, **o: RFFAttentionKernel(d, m, "relu", **o),
    "elu": lambda d, m, **o: RFFAttentionKernel(d, m, "elu", **o),
}


def arc_cosine(x: Tensor, y: Tensor) -> Tensor:
    """The mean of 2 relu(w x) relu(w y) over Gaussian w (Cho and Saul, 2009)."""
    norms = x.norm(dim=-1)[:, None] * y.norm(dim=-1)
    angle = (x @ y.mT / norms).clamp(-1, 1).acos()
    return norms / math.pi * (angle.sin() + (math.pi - angle) * angle.cos())


EXACT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gaussian": lambda x, y: (-(torch.cdist(x, y) ** 2) / 2).exp(),
    "laplacian": lambda x, y: (-torch.cdist(x, y, p=1)).exp(),
    "orthogonal": lambda x, y: (-(torch.cdist(x, y) ** 2) / 2).exp(),
    "hadamard": lambda x, y: (-(torch.cdist(x, y) ** 2) / 2).exp(),
    "softmax": lambda x, y: (x @ y.mT / math.sqrt(x.shape[-1])).exp(),
    "positive": lambda x, y: (-(torch.cdist(x, y) ** 2) / (2 * math.sqrt(x.shape[-1]))).exp(),
    "relu": lambda x, y: arc_cosine(x, y) / math.sqrt(x.shape[-1]),
}


@pytest.mark.parametrize("name", [name for name in MAPS if name not in ("elu", "hadamard")])
@pytest.mark.parametrize("d", [1, 3, 4])
def test_features_have_no_bias(name: str, d: int) -> None:
    scale = 0.3 if name in ("softmax", "positive gaussian") else 0.5  # the tails of positive features are heavy
    x, y = scale * random(4, d), scale * random(5, d, seed=1)
    expected = EXACT[name.split(",")[0].split()[0]](x, y)
    draws = torch.stack([MAPS[name](d, 50, seed=seed).double().kernel_approximation(x, y) for seed in range(300)])
    error = draws.std(dim=0) / math.sqrt(len(draws))
    assert ((draws.mean(dim=0) - expected).abs() < 4.5 * error + 1e-12).all()
    assert error.max() < 0.06


def test_positive_gaussian_features_have_the_given_scale() -> None:
    x, y = 0.2 * random(4, 2), 0.2 * random(5, 2, seed=1)
    make = lambda seed: RFFAttentionKernel(2, 200, "gaussian", seed=seed, sigma=0.7).double()  # noqa: E731
    mean = torch.stack([make(seed).kernel_approximation(x, y) for seed in range(300)]).mean(dim=0)
    torch.testing.assert_close(mean, (-torch.cdist(x, y).square() / (2 * 0.7**2)).exp(), atol=0.02, rtol=0)


@pytest.mark.parametrize("d", [16, 24, 64])
def test_structured_directions_are_nearly_gaussian(d: int) -> None:
    x, y = random(4, d) / d**0.5, random(5, d, seed=1) / d**0.5
    expected = EXACT["hadamard"](x, y)
    draws = torch.stack(
        [MAPS["hadamard"](d, 100, seed=seed).double().kernel_approximation(x, y) for seed in range(300)]
    )
    assert (draws.mean(dim=0) - expected).abs().max() < 0.03


@pytest.mark.parametrize("name", list(MAPS))
def test_seed_dtype_and_state(name: str) -> None:
    state = torch.random.get_rng_state()
    first, second, other = (MAPS[name](5, 12, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    x = random(2, 3, 5)
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=0)
    assert not torch.allclose(first(x), other(x))
    assert first(x).dtype == torch.float64
    assert first(x.float()).dtype == torch.float32
    other.load_state_dict(first.state_dict())
    torch.testing.assert_close(other(x), first(x), rtol=0, atol=0)
    assert "5" in repr(first)


def test_orthogonal_features_vary_less() -> None:
    x = 0.5 * random(6, 8)
    exact = (-(torch.cdist(x, x) ** 2) / 2).exp()

    def error(name: str) -> float:
        draws = [MAPS[name](8, 8, seed=seed).double().kernel_approximation(x, x) - exact for seed in range(200)]
        return torch.stack(draws).square().mean().item()

    def without_phase(orthogonal: bool) -> float:
        draws = [
            GaussianRFFKernel(8, 8, use_cos_sin=True, orthogonal=orthogonal, seed=seed).double() for seed in range(300)
        ]
        return torch.stack([k.kernel_approximation(x, x) - exact for k in draws]).square().mean().item()

    assert without_phase(True) < 0.7 * without_phase(False)
    assert error("hadamard") < 1.2 * error("gaussian")


def test_exact_kernels() -> None:
    x, y = 100 + random(2, 4, 3), 100 + random(2, 5, 3, seed=1)
    gaussian, laplacian = GaussianRFFKernel(3, 4, sigma=2.0), LaplacianRFFKernel(3, 4, sigma=2.0)
    difference = x.unsqueeze(-2) - y.unsqueeze(-3)
    expected = (-difference.square().sum(-1) / 8).exp()
    torch.testing.assert_close(gaussian.compute(x, y), expected)
    torch.testing.assert_close(gaussian.evaluate_difference(difference), expected)
    torch.testing.assert_close(laplacian.compute(x, y), (-difference.abs().sum(-1) / 2).exp())
    torch.testing.assert_close(ShiftInvariantKernel.compute(laplacian, x, y), laplacian.compute(x, y))
    assert gaussian.is_positive_definite(x[0])
    assert not gaussian.is_positive_definite(x[0, :1].expand(2, 3))
    assert gaussian.gram_matrix(x).shape == (2, 4, 4)


def test_spectral_densities() -> None:
    gaussian, laplacian = GaussianRFFKernel(1, 4, sigma=1.5), LaplacianRFFKernel(1, 4, sigma=1.5)
    for kernel, total in ((gaussian, 2 * math.pi), (laplacian, 1.0)):
        density = lambda w, kernel=kernel: kernel.spectral_density(torch.tensor([w], dtype=torch.float64)).item()  # noqa: E731
        integral, _ = integrate.quad(density, -math.inf, math.inf)
        assert integral == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("make", [MAPS["gaussian"], MAPS["laplacian"], MAPS["orthogonal"], MAPS["hadamard"]])
def test_trainable(make: Callable[..., RandomFeatureMap]) -> None:
    kernel = make(3, 8, trainable=True)
    assert {name for name, _ in kernel.named_parameters()} == {"omega", "bias"}
    kernel(random(5, 3).float()).square().sum().backward()
    for parameter in kernel.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
    assert not list(make(3, 8).parameters())


@pytest.mark.parametrize("kernel_type", ["softmax", "gaussian", "relu", "elu"])
def test_attention_features_are_not_negative(kernel_type: str) -> None:
    kernel = RFFAttentionKernel(4, 10, kernel_type)
    assert (kernel(random(2, 7, 4)) >= 0).all()
    assert list(kernel.state_dict()) == ["projection"]
    assert kernel.projection.shape == (4, 10)


def test_redraw() -> None:
    kernel, x = RFFAttentionKernel(4, 10, redraw=True), random(7, 4)
    before = kernel.projection.clone()
    gram = kernel.kernel_approximation(x, x)
    torch.testing.assert_close(gram, gram.mT)  # the same directions on both sides
    assert not torch.equal(kernel.projection, before)
    kernel.eval()
    torch.testing.assert_close(kernel(x), kernel(x), rtol=0, atol=0)
    kernel.redraw_features(torch.Generator().manual_seed(3))
    first = kernel.projection.clone()
    kernel.redraw_features(torch.Generator().manual_seed(3))
    assert torch.equal(kernel.projection, first)


def test_learnable_kernel() -> None:
    kernel, x = LearnableSpectralKernel(6, 4, init_scale=2.0).double(), random(5, 6)
    torch.testing.assert_close(kernel.eigenvalues, 2 * torch.linspace(1, 0.1, 4).double())
    torch.testing.assert_close(kernel.eigenvectors.mT @ kernel.eigenvectors, torch.eye(4).double(), atol=1e-5, rtol=0)
    features = kernel(x)
    scaled = kernel.eigenvectors @ (kernel.eigenvalues.abs() + 1e-8).diag() @ kernel.eigenvectors.mT
    torch.testing.assert_close(features @ features.mT, x @ scaled @ x.mT)
    torch.testing.assert_close(kernel(x, x).diagonal(), torch.ones(5).double())
    with torch.no_grad():
        kernel.eigenvectors.mul_(3).add_(0.1)
    kernel.orthogonalize_eigenvectors()
    torch.testing.assert_close(kernel.eigenvectors.mT @ kernel.eigenvectors, torch.eye(4).double())
    assert not LearnableSpectralKernel(6, 4, trainable_eigenvectors=False).eigenvectors.requires_grad


def test_polynomial_kernels() -> None:
    x, y = random(4, 3), random(5, 3, seed=1)
    torch.testing.assert_close(PolynomialKernel(3, 0.5, 2.0).compute(x, y), (0.5 * x @ y.mT + 2) ** 3)
    norms = x.norm(dim=-1)[:, None] * y.norm(dim=-1)
    torch.testing.assert_close(PolynomialSpectralKernel(3).compute(x, y), (x @ y.mT + 1) ** 2 / norms)
    torch.testing.assert_close(PolynomialSpectralKernel(3, normalize=False).compute(x, y), (x @ y.mT + 1) ** 2)
    weights = PolynomialSpectralKernel(3).compute_attention(x, y)
    kernel = (x @ y.mT + 1) ** 2 / norms
    torch.testing.assert_close(weights, kernel / kernel.sum(-1, keepdim=True))


def test_reduced_attention_uses_common_axes() -> None:
    """Points that lie in a plane lose nothing when they are projected on two axes."""
    plane = torch.linalg.qr(random(6, 2, seed=2))[0]
    q, k = random(7, 2) @ plane.mT, random(8, 2, seed=1) @ plane.mT
    full, reduced = (PolynomialSpectralKernel(rank).compute_attention(q, k) for rank in (6, 2))
    torch.testing.assert_close(reduced, full)
    assert (PolynomialSpectralKernel(1).compute_attention(q, k) >= 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianRFFKernel(0, 4),
        lambda: GaussianRFFKernel(3, 0),
        lambda: GaussianRFFKernel(3, 4, sigma=0.0),
        lambda: LaplacianRFFKernel(3, 4, sigma=-1.0),
        lambda: OrthogonalRandomFeatures(3, 4, kernel_type="laplacian"),
        lambda: OrthogonalRandomFeatures(3, 4, kernel_type="other"),
        lambda: RFFAttentionKernel(3, 4, kernel_type="other"),
        lambda: RFFAttentionKernel(3, 4, sigma=1.0),
        lambda: RFFAttentionKernel(3, 4, "gaussian", sigma=0.0),
        lambda: LearnableSpectralKernel(3, 4),
        lambda: LearnableSpectralKernel(3, 0),
        lambda: LearnableSpectralKernel(3, 2, init_scale=0.0),
        lambda: PolynomialKernel(degree=0),
        lambda: PolynomialSpectralKernel(0),
        lambda: PolynomialSpectralKernel(2, degree=3).compute_attention(torch.ones(1, 2), torch.ones(1, 2)),
    ],
)
def test_bad_input(make: Callable[[], object]) -> None:
    with pytest.raises(InputError, match=r"expected|only"):
        make()


@pytest.mark.parametrize("base", [KernelFunction, RandomFeatureMap, ShiftInvariantKernel])
def test_bases_are_abstract(base: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        base()


def test_bandwidth_must_be_positive() -> None:
    class Constant(ShiftInvariantKernel):
        def evaluate_difference(self, diff: Tensor) -> Tensor:
            return torch.ones_like(diff[..., 0])

    assert Constant(2.0).compute(random(3, 2), random(4, 2)).shape == (3, 4)
    with pytest.raises(InputError, match="bandwidth"):
        Constant(0.0)
