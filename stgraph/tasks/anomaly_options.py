"""The configuration of an anomaly run: what ``config.yaml`` holds and the flags of ``stgraph anomaly train``.

This file imports nothing heavy, so that the command line can print its help without loading torch.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from stgraph.errors import InputError
from stgraph.tasks.anomaly_option_checks import check_options
from stgraph.tasks.options import CommonTrainerOptions, OptimizerOptions

__all__ = [
    "PRESETS",
    "AnomalyDataOptions",
    "AnomalyDetectorOptions",
    "AnomalyLossOptions",
    "AnomalyModelOptions",
    "AnomalyOptimizerOptions",
    "AnomalyOptions",
    "AnomalyRuleOptions",
]

#: What belongs to each preset of the autoencoder where nothing else is said.
PRESETS: dict[str, dict[str, Any]] = {
    "documented": {"scaling": "minmax", "batch_size": 32, "loss": "gradient", "l1": 0.0, "rule": "percentile"},
    "later": {"scaling": "robust", "batch_size": 8, "loss": "chi2", "l1": 1e-5, "rule": "fixed"},
    "bottleneck": {"scaling": "robust", "batch_size": 32, "loss": "huber", "l1": 0.0, "rule": "graph_residual"},
}

# The later form leaves out the blue end, where the noise is largest.
_LATER_MIN_WAVELENGTH = 4000.0


@dataclasses.dataclass
class AnomalyDataOptions:
    """The spectra or series, how they are prepared, and what is kept from training.

    Args:
        path: Spectra (.h5, .npz, .csv, .fits, a folder of them), a series of a network of sensors or of a grid, or the
            name of a data set ("stgraph data list").
        kind: What the file holds; looked at by default.
        arguments: Reading options of a series, by their names: coords, coordinates, key, null_value.
        catalog: Table with redshifts, positions and other columns of the spectra, joined by targetid.
        rest_frame: Shift spectra to the rest frame; by default where a redshift is known, except for the documented
            and the later autoencoder.
        min_wavelength: Leave out what was observed below this wavelength, in angstrom; 4000 for the later autoencoder.
        scaling: How each spectrum is scaled for the autoencoder: to 0 to 1, or by median and interquartile range.
        val: Share of the spectra that chooses the best epoch of the autoencoder.
        calibration: Share that is kept from training and taken as normal, whose scores give p-values: of the spectra,
            or of the time of a series (its end). 0.2 with detector.false_alarm_rate, else 0.
        batch_size: Spectra in a batch of the autoencoder; the documented one of the preset by default.
    """

    path: str | None = None
    kind: Literal["spectra", "series"] | None = None
    arguments: dict[str, Any] | None = None
    catalog: str | None = None
    rest_frame: bool | None = None
    min_wavelength: float | None = None
    scaling: Literal["minmax", "robust"] | None = None
    val: float = 0.1
    calibration: float | None = None
    batch_size: int | None = None


@dataclasses.dataclass
class AnomalyDetectorOptions:
    """The detector.

    Args:
        name: Name of the detector: "graph_residual" (default for spectra) compares spectra with those most like them,
            "series_residual" (default for series) sensors with their neighbours and their own past, "autoencoder"
            trains a network that reconstructs spectra; "latent" and "transport" give a spectrum one score as a whole,
            its distance in the space of principal components, or from its neighbours by optimal transport.
        arguments: Hyper-parameters of a detector, by the names of its constructor; of an autoencoder those of
            rule.name="graph_residual".
        false_alarm_rate: Largest expected share of false alarms among what is flagged, by p-values against the
            calibration share; by default the detector's own threshold decides. It is guaranteed for other data
            ("stgraph anomaly detect"), and holds approximately for the spectra that the detector was fitted to.
    """

    name: str | None = None
    arguments: dict[str, Any] | None = None
    false_alarm_rate: float | None = None


@dataclasses.dataclass
class AnomalyRuleOptions:
    """Which windows and spectra are flagged by the residuals of the autoencoder.

    Args:
        name: "graph_residual" judges residuals by their robust spread and the known errors, "percentile" and "fixed"
            are the documented and the later rule; that of the preset by default.
        window_size: Points of a window, as all options below for name="percentile" and "fixed".
        percentile_threshold: Percentile of the residuals of all windows, for name="percentile"; 95 by default.
        abs_residual_threshold: Mean absolute residual of a window, for name="fixed"; 0.1 by default.
        rel_residual_threshold: Mean relative residual of a window, for name="fixed"; 0.1 by default.
        range_mismatch_factor: Ratio of the ranges of reconstruction and spectrum.
        overall_anomaly_threshold: Share of a spectrum in flagged windows above which it is flagged.
        coverage: "unique" counts each point once, "double" each window.
        cover_tail: Add a last window where the others leave points out.
    """

    name: Literal["graph_residual", "percentile", "fixed"] | None = None
    window_size: int = 50
    percentile_threshold: float | None = None
    abs_residual_threshold: float | None = None
    rel_residual_threshold: float | None = None
    range_mismatch_factor: float = 1.5
    overall_anomaly_threshold: float = 0.3
    coverage: Literal["unique", "double"] = "unique"
    cover_tail: bool = True

    @property
    def implied(self) -> Literal["percentile", "fixed"] | None:
        """The rule that the thresholds belong to."""
        if self.percentile_threshold is not None:
            return "percentile"
        return None if (self.abs_residual_threshold, self.rel_residual_threshold) == (None, None) else "fixed"


@dataclasses.dataclass
class AnomalyModelOptions:
    """The autoencoder of detector.name="autoencoder".

    Args:
        preset: "documented" and "later" have skip connections, which can copy anomalies into the reconstruction;
            "bottleneck" has a short latent vector instead.
        arguments: Hyper-parameters that differ from the preset, by the names of its constructor.
    """

    preset: Literal["documented", "later", "bottleneck"] = "bottleneck"
    arguments: dict[str, Any] | None = None


@dataclasses.dataclass
class AnomalyLossOptions:
    """The loss of the autoencoder.

    Args:
        kind: Error of a point; that of the preset by default. "chi2" needs measurement errors.
        weight_factor: Weight of the gradient of the spectrum, for kind="gradient".
        l1: Weight of the sum of the absolute weights; that of the preset by default.
        denominator: Divide by the number of good points, or of all points.
        huber_delta: Where the Huber loss turns from squares to absolute values.
    """

    kind: Literal["gradient", "chi2", "gaussian_nll", "huber", "mse"] | None = None
    weight_factor: float = 10.0
    l1: float | None = None
    denominator: Literal["good", "all"] = "good"
    huber_delta: float = 1.0


@dataclasses.dataclass
class AnomalyOptimizerOptions(OptimizerOptions):
    """The optimizer of the autoencoder and its schedule."""

    name: Literal["adamw", "adam"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["cosine", "one_cycle", "constant", "multi_step"] = "constant"


@dataclasses.dataclass
class AnomalyOptions:
    """The run as a whole.

    Args:
        data: The spectra or series, how they are prepared, and what is kept from training.
        detector: The detector.
        rule: Which windows and spectra are flagged by the residuals of the autoencoder.
        model: The autoencoder.
        loss: The loss of the autoencoder.
        optimizer: The optimizer of the autoencoder and its schedule.
        trainer: How to train the autoencoder.
        seed: Seed of the split, the weights and the order of the spectra.
        output: Folder of the run; runs/<name of the data>-anomalies by default.
        overwrite: Replace the run that is already in the folder.
        resume: Continue the run in the folder where it stopped.
    """

    data: AnomalyDataOptions = dataclasses.field(default_factory=AnomalyDataOptions)
    detector: AnomalyDetectorOptions = dataclasses.field(default_factory=AnomalyDetectorOptions)
    rule: AnomalyRuleOptions = dataclasses.field(default_factory=AnomalyRuleOptions)
    model: AnomalyModelOptions = dataclasses.field(default_factory=AnomalyModelOptions)
    loss: AnomalyLossOptions = dataclasses.field(default_factory=AnomalyLossOptions)
    optimizer: AnomalyOptimizerOptions = dataclasses.field(default_factory=AnomalyOptimizerOptions)
    trainer: CommonTrainerOptions = dataclasses.field(default_factory=CommonTrainerOptions)
    seed: int = 42
    output: str | None = None
    overwrite: bool = False
    resume: bool = False

    @property
    def trains(self) -> bool:
        """Whether there is a network to train."""
        return self.detector.name == "autoencoder"

    @property
    def rule_name(self) -> Literal["graph_residual", "percentile", "fixed"]:
        """The rule of an autoencoder: the one named, that of the thresholds, or that of the preset."""
        return self.rule.name or self.rule.implied or PRESETS[self.model.preset]["rule"]

    @property
    def loss_kind(self) -> Literal["gradient", "chi2", "gaussian_nll", "huber", "mse"]:
        """The loss of an autoencoder: the one named, or that of the preset."""
        return self.loss.kind or PRESETS[self.model.preset]["loss"]

    def check(self) -> None:
        """Refuse values that can be seen to be wrong without the data.

        Raises:
            InputError: If a value is out of range, or an option has no effect beside the others.
        """
        if self.model.preset not in PRESETS:
            raise InputError(f"model.preset is {self.model.preset!r}; expected one of {', '.join(PRESETS)}")
        check_options(self)

    def resolved(self) -> AnomalyOptions:
        """Return the options with what depends on the kind of data and on the preset; ``data.kind`` is known."""
        spectra = self.data.kind == "spectra"
        name = self.detector.name or ("graph_residual" if spectra else "series_residual")
        preset, data = PRESETS[self.model.preset], self.data
        calibration = data.calibration
        if calibration is None:
            calibration = 0.0 if self.detector.false_alarm_rate is None else 0.2
        rest_frame, lowest = data.rest_frame, data.min_wavelength
        if name == "autoencoder":
            rest_frame = False if rest_frame is None and self.model.preset != "bottleneck" else rest_frame
            lowest = _LATER_MIN_WAVELENGTH if lowest is None and self.model.preset == "later" else lowest
        resolved = dataclasses.replace(
            self,
            data=dataclasses.replace(
                data,
                calibration=calibration,
                rest_frame=rest_frame if spectra else False,
                min_wavelength=lowest,
            ),
            detector=dataclasses.replace(self.detector, name=name),
        )
        if not resolved.trains:
            return resolved
        return dataclasses.replace(
            resolved,
            data=dataclasses.replace(
                resolved.data,
                scaling=data.scaling or preset["scaling"],
                batch_size=data.batch_size or preset["batch_size"],
            ),
            rule=dataclasses.replace(self.rule, name=self.rule_name),
            loss=dataclasses.replace(
                self.loss,
                kind=self.loss_kind,
                l1=preset["l1"] if self.loss.l1 is None else self.loss.l1,
            ),
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AnomalyOptions:
        """Build options from a dictionary such as the content of ``config.yaml``."""
        groups = {
            "data": AnomalyDataOptions,
            "detector": AnomalyDetectorOptions,
            "rule": AnomalyRuleOptions,
            "model": AnomalyModelOptions,
            "loss": AnomalyLossOptions,
            "optimizer": AnomalyOptimizerOptions,
            "trainer": CommonTrainerOptions,
        }
        return cls(**{k: groups[k](**v) if k in groups else v for k, v in values.items()})
