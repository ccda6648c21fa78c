"""The detectors of anomalies in spectra that the benchmark compares, and what they are compared on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor
from torch_geometric.data import Data

from benchmarks import anomaly_detection_networks as networks
from stgraph.data.datasets.locate import stgraph_data_folder
from stgraph.data.simulation.anomalies import analytic_galaxies, eigenspectrum_galaxies, inject
from stgraph.data.spectra import SpectralNeighborGraph, to_rest_frame
from stgraph.metrics.anomaly import detection_scores, region_iou
from stgraph.models.detectors import AutoencoderDetector, GraphResidualDetector
from stgraph.ops.anomaly import (
    AnomalousRegions,
    detect_anomalous_regions,
    latent_score,
    neighborhood_transport_score,
    regions_from_windows,
    robust_threshold,
    uncertainty_deviation,
)
from stgraph.ops.anomaly.graph_residual import ScaledSpectra, column_scale, scale_spectra
from stgraph.ops.anomaly.window_scores import default_widths, standardise_windows, window_statistics

SETS = {"A": "analytic galaxies", "B": "eigenspectrum galaxies"}
INJECTIONS = {"regions": ("line", "bump", "noisy", "gap", "step"), "whole": ("dead_pixels", "swapped")}
FRACTION = 0.1
WINDOW, COMPONENTS = 50, 12
KEYS = ("x", "mask", "flux_error")
OWN, ROBUST, DOCUMENTED = "own", "MAD", "documented"


class Case(NamedTuple):
    """One set of spectra with injected anomalies, as observed and in the rest frame."""

    observed: Data
    rest: Data
    clean: Data
    scaled: ScaledSpectra
    seed: int
    epochs: int | None


class Outcome(NamedTuple):
    """What a method says: scores ``[N]``, its flags and its regions, if it has some, in either frame."""

    score: Tensor
    flagged: Tensor | None = None
    regions: Tensor | None = None
    rule: str = ROBUST
    in_rest_frame: bool = True
    extra: Mapping[str, float] = MappingProxyType({})


def galaxies(name: str, spectra: int, points: int, seed: int) -> Data:
    """Clean spectra of a set; those of B are made of the eigenspectra below STGRAPH_DATA."""
    if name == "A":
        return analytic_galaxies(spectra, length=points, seed=seed)
    from astropy.io import fits

    (path,) = stgraph_data_folder("sdss_eigenspectra", None).glob("spEigenGal-*.fits")
    components, header = fits.getdata(path), fits.getheader(path)
    wavelength = 10 ** (header["COEFF0"] + header["COEFF1"] * np.arange(components.shape[1]))
    return eigenspectrum_galaxies(components, wavelength, spectra, length=points, seed=seed)


def make_case(name: str, injection: str, spectra: int, points: int, seed: int, epochs: int | None = None) -> Case:
    """A set with anomalies in a tenth of its spectra."""
    clean = galaxies(name, spectra, points, seed)
    observed = inject(clean, INJECTIONS[injection], FRACTION, seed)
    rest = to_rest_frame(observed)
    return Case(observed, rest, clean, scale_spectra(*(rest[key][..., 0] for key in KEYS)), seed, epochs)


def true_regions(case: Case, in_rest_frame: bool) -> Tensor:
    """Where the anomalies are ``[N, L]``: in the rest frame, the points whose nearest observed one is anomalous."""
    region = case.observed.anomaly_mask[..., 0]
    if not in_rest_frame:
        return region
    observed = case.observed.wavelength.double()
    wanted = case.rest.wavelength.double() * (1 + case.observed.redshift.double()[:, None])
    nearest = torch.searchsorted((observed[1:] + observed[:-1]) / 2, wanted)
    return region.gather(1, nearest) & case.rest.mask[..., 0]


def best_windows(z: Tensor, mask: Tensor) -> Outcome:
    """The highest window of deviations, as our own detector takes it: several widths, two statistics, one scale."""
    usual = (z / column_scale(z, mask)).masked_fill(~mask, 0.0)
    found = window_statistics(usual, mask, default_widths(z.shape[1]))
    return of_windows(standardise_windows(found).score, found.start, found.end, z.shape[1])


def of_windows(window_score: Tensor, start: Tensor, end: Tensor, length: int) -> Outcome:
    """The score of the highest window, and the windows above the threshold of these scores."""
    known = window_score.nan_to_num(nan=-torch.inf)
    score = known.amax(dim=1)
    threshold = robust_threshold(score)
    return Outcome(score, score > threshold, regions_from_windows(known > threshold, start, end, length))


def of_detector(found: AnomalousRegions) -> Outcome:
    """What a detector says by its own rule."""
    return Outcome(found.score.float(), found.anomalous, found.regions, OWN)


def graph(case: Case) -> dict[str, Outcome]:
    """The default detector of stgraph."""
    return {"graph residual (default)": of_detector(GraphResidualDetector().fit_detect(case.rest))}


def neighbors(case: Case) -> dict[str, Outcome]:
    """The neighbours alone."""
    detector = GraphResidualDetector(subtract_components=False)
    return {"neighbours alone": of_detector(detector.fit_detect(case.rest))}


def _documented(name: str, preset: str, **options: Any) -> Callable[[Case], dict[str, Outcome]]:
    """A form of the documented autoencoder: trained on everything, in the observed frame, scaled to 0 to 1."""

    def fit(case: Case) -> dict[str, Outcome]:
        x, mask = case.observed.x[..., 0], case.observed.mask[..., 0]
        low = x.amin(dim=1, keepdim=True)
        width = x.amax(dim=1, keepdim=True) - low
        scaled = (x - low) / width
        sizes = {"input_length": x.shape[1]} if preset == "bottleneck" else {}
        epochs = case.epochs or networks.EPOCHS
        trained = networks.trained_autoencoder(scaled, mask, preset, "gradient", epochs, case.seed, **sizes, **options)
        with torch.no_grad():
            made = trained(scaled.unsqueeze(2))["reconstructed"][..., 0]
        found = detect_anomalous_regions(
            scaled, made, WINDOW, mask=mask, rule="percentile", coverage="double", cover_tail=False
        )
        covered = torch.tensor([float(len(windows)) for windows in found.metadata]) * WINDOW / x.shape[1]
        change = (x - case.clean.x[..., 0]) / width
        extra = copying(scaled - made, change, case.observed.anomaly_mask[..., 0], case.observed.anomalous)
        highest = of_windows(found.window_score, found.window_start, found.window_end, x.shape[1])
        ratio = found.window_score.amax(dim=1) / found.window_score.median(dim=1).values
        return {
            f"{name}, documented rule": Outcome(covered, found.anomalous, found.regions, DOCUMENTED, False, extra),
            f"{name}, highest window": highest._replace(in_rest_frame=False),
            f"{name}, highest over median window": Outcome(ratio),
        }

    return fit


def copying(residual: Tensor, change: Tensor, region: Tensor, anomalous: Tensor) -> dict[str, float]:
    """How much of the anomalies a reconstruction takes over.

    ``inside_over_outside`` is the mean absolute residual in the regions over that in clean spectra, ``left`` the share
    of what was injected that is still in the residual: 1 where nothing of it is reconstructed, 0 where all of it is.
    """
    size = residual.abs()
    left = (residual * change)[region].sum() / change[region].square().sum()
    return {
        "inside_over_outside": float(size[region].mean() / size[~anomalous].mean()),
        "left": float(left),
        "clean_rmse": float(residual[~anomalous].square().mean().sqrt()),
    }


def bottleneck(case: Case) -> dict[str, Outcome]:
    """A bottleneck in the rest frame: its reconstruction as first expectation of the graph, and its latents."""
    scaled = case.scaled
    trained = networks.trained_autoencoder(
        scaled.x,
        scaled.mask,
        "bottleneck",
        "huber",
        case.epochs or networks.EPOCHS,
        case.seed,
        input_length=scaled.x.shape[1],
    )
    with torch.no_grad():
        latents = trained(scaled.x.unsqueeze(2))["encoded"]
    return {
        "AutoencoderDetector (bottleneck + graph)": of_detector(AutoencoderDetector(trained).fit_detect(case.rest)),
        "latent score (bottleneck)": Outcome(latent_score(latents)),
    }


def transport(case: Case) -> dict[str, Outcome]:
    """Optimal transport to the neighbours."""
    edges = SpectralNeighborGraph()(case.rest.clone()).edge_index
    scaled = case.scaled
    score = neighborhood_transport_score(
        scaled.x, edges, mask=scaled.mask, error=scaled.error, position=case.rest.wavelength.log()
    )
    return {"transport score": Outcome(score)}


def uncertainty(case: Case) -> dict[str, Outcome]:
    """Predictions of hidden blocks in units of their uncertainty."""
    epochs = networks.MASKED_EPOCHS if case.epochs is None else case.epochs
    trained = networks.trained_masked(case.scaled, epochs, case.seed)
    mean, log_variance = networks.predicted(trained, case.scaled)
    x, mask, error = (value.unsqueeze(2) for value in case.scaled[:3])
    z = uncertainty_deviation(x, mean, log_variance, error, mask)[..., 0]
    return {"uncertainty score (masked MLP)": best_windows(z, case.scaled.mask)}


def _filled(case: Case) -> np.ndarray:
    """Scaled spectra in the rest frame whose bad points are the median of the others there."""
    x = case.scaled.x.masked_fill(~case.scaled.mask, torch.nan)
    usual = x.nanmedian(dim=0).values.nan_to_num(0.0)
    return torch.where(case.scaled.mask, x, usual).double().numpy()


def components(case: Case) -> dict[str, Outcome]:
    """Reconstruction by principal components, by the mean square and by our windows of residuals over errors."""
    x = _filled(case)
    model = PCA(COMPONENTS, random_state=case.seed).fit(x)
    residual = torch.from_numpy(x - model.inverse_transform(model.transform(x))).float()
    mask = case.scaled.mask
    mean = residual.square().masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1)
    return {
        "PCA": Outcome(mean),
        "PCA, our errors and windows": best_windows((residual / case.scaled.error).masked_fill(~mask, 0.0), mask),
    }


def forest(case: Case) -> dict[str, Outcome]:
    """Isolation forest."""
    x = _filled(case)
    score = -IsolationForest(random_state=case.seed).fit(x).score_samples(x)
    return {"isolation forest": Outcome(torch.from_numpy(score))}


def local_factor(case: Case) -> dict[str, Outcome]:
    """Local outlier factor."""
    model = LocalOutlierFactor(n_neighbors=20).fit(_filled(case))
    return {"local outlier factor": Outcome(torch.from_numpy(-model.negative_outlier_factor_))}


#: What is fitted once, and may give several methods; those that train long come last.
FITS: dict[str, Callable[[Case], dict[str, Outcome]]] = {
    "graph": graph,
    "neighbors": neighbors,
    "components": components,
    "forest": forest,
    "local_factor": local_factor,
    "transport": transport,
    "uncertainty": uncertainty,
    "documented": _documented("documented autoencoder", "documented"),
    "bottleneck": bottleneck,
    "no_skip": _documented("without skips", "documented", skip="none"),
    "documented_bottleneck": _documented("bottleneck", "bottleneck"),
}
#: The methods of stgraph, the default first; the others are what it is compared with.
OURS = (
    "graph residual (default)",
    "neighbours alone",
    "AutoencoderDetector (bottleneck + graph)",
    "transport score",
    "latent score (bottleneck)",
    "uncertainty score (masked MLP)",
)


def judge(case: Case, fit: str) -> list[dict[str, Any]]:
    """Run a fit and return what each of its methods reaches."""
    start = time.process_time()
    found = FITS[fit](case)
    seconds = time.process_time() - start
    return [{"method": name, "seconds": seconds} | _scores(case, outcome) for name, outcome in found.items()]


def _scores(case: Case, outcome: Outcome) -> dict[str, Any]:
    label, kind = case.observed.anomalous, case.observed.metadata["anomaly_kind"]
    score, flagged = outcome.score, outcome.flagged
    if flagged is None:
        flagged = score > robust_threshold(score)
    record: dict[str, Any] = {"rule": outcome.rule, **detection_scores(score, label, flagged), **outcome.extra}
    if outcome.regions is not None:
        true = true_regions(case, outcome.in_rest_frame)
        record["iou"] = float(region_iou(outcome.regions, true)[label].nanmean())
    record["kinds"] = {}
    for name in sorted(set(kind) - {""}):
        of_kind = torch.from_numpy(kind == name)
        kept = detection_scores(score, of_kind, flagged, mask=of_kind | ~label)
        record["kinds"][str(name)] = {key: kept[key] for key in ("auprc", "auroc", "recall")}
    return record
