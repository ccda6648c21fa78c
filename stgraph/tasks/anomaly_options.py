"""The configuration of an anomaly run: what ``config.yaml`` holds and the flags of ``stgraph anomaly train``.

This file imports nothing heavy, so that the command line can print its help without loading torch.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from stgraph.errors import InputError
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
            trains a network that reconstructs spectra.
        arguments: Hyper-parameters of a detector, by the names of its constructor.
        false_alarm_rate: Largest expected share of false alarms among what is flagged, by p-values against the
            calibration share; by default the detector's own threshold decides.
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
        window_size: Points of a window.
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

    def check(self) -> None:
        """Refuse values that can be seen to be wrong without the data.

        Raises:
            InputError: If a value is out of range.
        """
        data = self.data
        if data.path is None:
            raise InputError("no data: name a file of spectra or of a series, or a data set")
        positive = {
            "data.batch_size": data.batch_size,
            "trainer.max_epochs": self.trainer.max_epochs,
            "trainer.devices": self.trainer.devices,
            "trainer.num_nodes": self.trainer.num_nodes,
            "trainer.early_stopping": self.trainer.early_stopping,
            "trainer.log_every_n_steps": self.trainer.log_every_n_steps,
            "trainer.checkpoint_every_n_steps": self.trainer.checkpoint_every_n_steps,
        }
        for name, value in positive.items():
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if self.optimizer.learning_rate <= 0:
            raise InputError(f"optimizer.learning_rate is {self.optimizer.learning_rate}; expected more than 0")
        kept = data.calibration or 0.0
        if not (0 < data.val < 1 and 0 <= kept < 1 and data.val + kept < 1):
            raise InputError(
                f"data.val is {data.val} and data.calibration {kept}; expected shares that leave something to train on"
            )
        rate = self.detector.false_alarm_rate
        if rate is not None and not 0 < rate < 1:
            raise InputError(f"detector.false_alarm_rate is {rate}; expected a share between 0 and 1")
        if rate is not None and data.calibration == 0:
            raise InputError("detector.false_alarm_rate needs a calibration share, and data.calibration is 0")
        if data.min_wavelength is not None and data.min_wavelength <= 0:
            raise InputError(f"data.min_wavelength is {data.min_wavelength}; expected more than 0 angstrom")
        if self.overwrite and self.resume:
            raise InputError("overwrite and resume exclude each other: one replaces the run, the other continues it")
        self._check_rule()

    def _check_rule(self) -> None:
        rule = self.rule
        if rule.percentile_threshold is not None and not 0 <= rule.percentile_threshold <= 100:
            raise InputError(f"rule.percentile_threshold is {rule.percentile_threshold}; expected 0 to 100")
        if rule.window_size < 2:
            raise InputError(f"rule.window_size is {rule.window_size}; expected at least 2")
        if not 0 <= rule.overall_anomaly_threshold <= 2:
            raise InputError(f"rule.overall_anomaly_threshold is {rule.overall_anomaly_threshold}; expected 0 to 2")
        if rule.range_mismatch_factor <= 0:
            raise InputError(f"rule.range_mismatch_factor is {rule.range_mismatch_factor}; expected more than 0")
        constants = rule.abs_residual_threshold, rule.rel_residual_threshold
        if rule.percentile_threshold is not None and constants != (None, None):
            raise InputError("rule has thresholds of two rules: a percentile, and fixed ones; expected those of one")
        if rule.name is not None and rule.implied not in (None, rule.name):
            raise InputError(f"rule has thresholds for rule.name {rule.implied!r}, and it is {rule.name!r}")

    def resolved(self) -> AnomalyOptions:
        """Return the options with what depends on the kind of data and on the preset; ``data.kind`` is known."""
        spectra = self.data.kind == "spectra"
        name = self.detector.name or ("graph_residual" if spectra else "series_residual")
        preset, data, rule = PRESETS[self.model.preset], self.data, self.rule
        calibration = data.calibration
        if calibration is None:
            calibration = 0.0 if self.detector.false_alarm_rate is None else 0.2
        rest_frame, lowest = data.rest_frame, data.min_wavelength
        if name == "autoencoder":
            rest_frame = False if rest_frame is None and self.model.preset != "bottleneck" else rest_frame
            lowest = _LATER_MIN_WAVELENGTH if lowest is None and self.model.preset == "later" else lowest
        given = rule.name or rule.implied or preset["rule"]
        return dataclasses.replace(
            self,
            data=dataclasses.replace(
                data,
                calibration=calibration,
                rest_frame=rest_frame if spectra else False,
                min_wavelength=lowest,
                scaling=data.scaling or preset["scaling"],
                batch_size=data.batch_size or preset["batch_size"],
            ),
            detector=dataclasses.replace(self.detector, name=name),
            rule=dataclasses.replace(rule, name=given),
            loss=dataclasses.replace(
                self.loss,
                kind=self.loss.kind or preset["loss"],
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
