"""Pictures of latent vectors in the plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stgraph.errors import InputError
from stgraph.report.arrays import Array, Floats
from stgraph.report.style import COLORS, GREY, INK, MARKERS, label, new_figure, style

__all__ = ["PROJECTIONS", "latent_picture", "project_latents"]

#: The ways to bring latent vectors to the plane, and how figures name them.
PROJECTIONS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}

_PERPLEXITY = 30.0
_NEIGHBORS, _MIN_DIST = 15, 0.1
_MAX_TSNE_POINTS = 5000
_MAX_CLASSES = len(COLORS) * len(MARKERS)


def latent_picture(
    latents: Any,
    color: Any = None,
    *,
    method: str = "pca",
    color_name: str | None = None,
    color_unit: str | None = None,
    log_color: bool = False,
    title: str | None = None,
    seed: int = 42,
) -> Figure:
    """Draw latent vectors in the plane, coloured by a class or by a number.

    Args:
        latents: Latent vectors.
        color: A class (text or booleans) or a number for each; vectors whose number is nan or whose class is empty
            are drawn in grey.
        method: As for :func:`project_latents`.
        color_name: What the colour tells.
        color_unit: Unit of the number.
        log_color: Use a logarithmic scale of colours, as for periods.
        title: Title of the figure.
        seed: Seed of the projection.

    Shapes:
        - **latents:** ``[N, d]``, **color:** ``[N]``

    Raises:
        InputError: If a shape does not fit, a latent vector is not finite, or there are more than 36 classes.
        ImportError: If UMAP is asked for and not installed.
    """
    places, drawn, axis_names = project_latents(latents, method, seed=seed)
    figure = new_figure(7.2, 5.6)
    axes = figure.subplots()
    size = float(np.clip(9000 / len(places), 5, 60))
    values = None if color is None else np.asarray(color.detach().cpu() if hasattr(color, "detach") else color)
    if values is not None and values.shape != (len(latents),):
        raise InputError(f"color has shape {values.shape}; expected {(len(latents),)}, one for each latent vector")
    if values is None:
        axes.scatter(places[:, 0], places[:, 1], s=size, color=COLORS[0], lw=0, alpha=0.8)
    elif values.dtype.kind in "iuf":
        name = label(color_name or "Value", color_unit)
        _draw_numbers(figure, axes, places, values[drawn].astype(np.float64), size, name, log_color)
    else:
        _draw_classes(figure, axes, places, np.asarray([str(v) for v in values[drawn]]), size, color_name)
    style(axes)
    axes.set_xlabel(axis_names[0], fontsize=10)
    axes.set_ylabel(axis_names[1], fontsize=10)
    axes.set_title(title or f"{PROJECTIONS[method]} of {len(places)} latent vectors", fontsize=12, color=INK)
    return figure


def project_latents(
    latents: Any, method: str = "pca", *, seed: int = 42
) -> tuple[Floats, npt.NDArray[np.int64], tuple[str, str]]:
    r"""Bring standardised latent vectors to the plane by PCA, t-SNE or UMAP.

    t-SNE has perplexity 30 (less where there are fewer than 91 vectors) and takes at most 5000 vectors, drawn at
    random; UMAP has 15 neighbours and a minimum distance of 0.1. The same seed gives the same picture.

    Args:
        latents: Latent vectors.
        method: ``"pca"``, ``"tsne"`` or ``"umap"`` (extra ``umap``).
        seed: Seed of the draw and of the projection.

    Shapes:
        - **latents:** ``[N, d]``
        - **output:** places ``[n, 2]``, the index of each in ``latents`` ``[n]``, and the names of the two axes

    Raises:
        InputError: If a shape does not fit or a latent vector is not finite.
        ImportError: If UMAP is asked for and not installed.

    Examples:
        >>> places, index, names = project_latents([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
        >>> places.shape, index.tolist(), names
        ((3, 2), [0, 1, 2], ('Component 1 (100 % of variance)', 'Component 2 (0 % of variance)'))
    """
    from sklearn.preprocessing import StandardScaler

    if method not in PROJECTIONS:
        raise InputError(f"method is {method!r}; expected one of {list(PROJECTIONS)}")
    x = np.asarray(latents.detach().cpu() if hasattr(latents, "detach") else latents, dtype=np.float64)
    if x.ndim != 2 or len(x) < 3 or x.shape[1] < 2:
        raise InputError(f"latents has shape {x.shape}; expected (N, d) with at least 3 vectors of 2 numbers")
    if not np.isfinite(x).all():
        raise InputError(f"latents has {int((~np.isfinite(x)).any(1).sum())} vectors that are not finite")
    index = np.arange(len(x))
    if method == "tsne" and len(x) > _MAX_TSNE_POINTS:
        index = np.sort(np.random.default_rng(seed).choice(len(x), _MAX_TSNE_POINTS, replace=False))
    x = StandardScaler().fit_transform(x[index])
    if method == "pca":
        return _pca(x, index)
    places = _tsne(x, seed) if method == "tsne" else _umap(x, seed)
    name = PROJECTIONS[method]
    return places, index, (f"{name} 1", f"{name} 2")


def _pca(x: Floats, index: npt.NDArray[np.int64]) -> tuple[Floats, npt.NDArray[np.int64], tuple[str, str]]:
    from sklearn.decomposition import PCA

    if not x.any():
        raise InputError("latents are all the same; there is nothing to draw")
    pca = PCA(2, svd_solver="full")
    places = pca.fit_transform(x)
    first, second = (f"Component {i + 1} ({100 * pca.explained_variance_ratio_[i]:.0f} % of variance)" for i in (0, 1))
    return places, index, (first, second)


def _tsne(x: Floats, seed: int) -> Floats:
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(x) - 1) / 3)
    places = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed).fit_transform(x)
    return np.asarray(places, dtype=np.float64)


def _umap(x: Floats, seed: int) -> Floats:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError('UMAP needs umap-learn: pip install "stgraph-pyg[umap]"') from error
    neighbors = min(_NEIGHBORS, len(x) - 1)
    # One thread, since the order of several is not repeatable.
    projection = UMAP(n_neighbors=neighbors, min_dist=_MIN_DIST, random_state=seed, n_jobs=1)
    return np.asarray(projection.fit_transform(x), dtype=np.float64)


def _draw_numbers(
    figure: Figure, axes: Axes, places: Floats, values: Floats, size: float, name: str, log_color: bool
) -> None:
    known = np.isfinite(values) & ((values > 0) | (not log_color))
    axes.scatter(places[~known, 0], places[~known, 1], s=size, color=GREY, lw=0, alpha=0.5)
    if known.any():
        scale = "log" if log_color else "linear"
        points = axes.scatter(
            places[known, 0], places[known, 1], c=values[known], s=size, cmap="viridis", norm=scale, lw=0
        )
        figure.colorbar(points, ax=axes, label=name)


def _draw_classes(figure: Figure, axes: Axes, places: Floats, classes: Array, size: float, name: str | None) -> None:
    names = [str(n) for n in np.unique(classes) if n]
    if len(names) > _MAX_CLASSES:
        raise InputError(f"color has {len(names)} classes; expected at most {_MAX_CLASSES}, or numbers")
    unknown = classes == ""
    if unknown.any():
        axes.scatter(places[unknown, 0], places[unknown, 1], s=size, color=GREY, lw=0, alpha=0.5, label="unknown")
    for i, one in enumerate(names):
        # Every colour with the first marker, then every colour with the next one.
        color, marker = COLORS[i % len(COLORS)], MARKERS[i // len(COLORS)]
        inside = classes == one
        axes.scatter(
            places[inside, 0], places[inside, 1], s=size, color=color, marker=marker, lw=0, alpha=0.8, label=one
        )
    figure.legend(loc="outside right upper", frameon=False, fontsize=9, title=name)
