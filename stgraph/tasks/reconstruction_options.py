"""The configuration of a reconstruction run: what ``config.yaml`` holds and the flags of ``stgraph lightcurve train``.

This file imports nothing heavy, so that the command line can print its help without loading torch.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from stgraph.data.masking import Masking
from stgraph.errors import InputError
from stgraph.tasks.options import CommonTrainerOptions, OptimizerOptions

__all__ = [
    "MODEL_DEFAULTS",
    "ReconstructionDataOptions",
    "ReconstructionLossOptions",
    "ReconstructionModelOptions",
    "ReconstructionOptions",
    "ReconstructionTrainerOptions",
]

#: Training of each network as LC-Gen documents it: learning rate, weight decay, batch size and gradient clipping.
MODEL_DEFAULTS: dict[str, tuple[float, float, int, float | None]] = {
    "transformer": (1e-4, 1e-2, 32, 1.0),
    "unet": (1e-3, 1e-5, 64, None),
    "mlp": (1e-3, 1e-5, 128, None),
    "mingru": (1e-3, 1e-2, 32, 1.0),
    "bidirectional_mingru": (1e-3, 1e-2, 32, 1.0),
    "multimodal": (1e-4, 1e-2, 32, 1.0),
}


@dataclasses.dataclass
class ReconstructionDataOptions:
    """The series, how they are scaled, and which of them train.

    Args:
        path: Light curves (.h5, .fits, .csv, .parquet, a folder of them), spectra (.h5), any series of a network of
            sensors, or the name of a data set ("stgraph data list").
        kind: What the file holds; looked at by default.
        channels: What to read of a file of spectra: psd, acf, fstat, or several of them.
        spectra: File with the spectra of the same stars, for model.name="multimodal"; stars without count as such.
        arguments: Reading options, by the names of the reading function.
        steps: Largest number of points of a sample; longer series are cut into stretches. 512 for light curves and
            networks, all bins of spectra.
        scaling: How each series is scaled: by median and interquartile range, mean and standard deviation, the mean
            of each slot of a seasonal cycle, or not.
        steps_per_cycle: Number of slots of the seasonal cycle, for scaling="climatology".
        split_by: "series" keeps some series for validation and test, "entries" some entries of all series.
        val: Share for validation.
        test: Share for the final errors.
        max_held_block: Longest block of entries that split_by="entries" holds out, in steps.
        k: Number of nearest neighbours of each node that a model with neighbours sees.
        edges: Where edges come from: nearest neighbours, or those that come with the data.
        shuffle_edges: Connect random nodes instead, as a check that neighbours matter.
        batch_size: Samples in a batch, over all devices together; the documented one of the model by default.
    """

    path: str | None = None
    kind: Literal["light_curves", "spectra", "series"] | None = None
    channels: list[str] = dataclasses.field(default_factory=lambda: ["psd"])
    spectra: str | None = None
    arguments: dict[str, Any] | None = None
    steps: int | None = None
    scaling: Literal["robust", "standard", "climatology", "none"] | None = None
    steps_per_cycle: int | None = None
    split_by: Literal["series", "entries"] = "series"
    val: float = 0.1
    test: float = 0.1
    max_held_block: int = 32
    k: int = 8
    edges: Literal["knn", "own"] = "knn"
    shuffle_edges: bool = False
    batch_size: int | None = None


@dataclasses.dataclass
class ReconstructionModelOptions:
    """The autoencoder.

    Args:
        name: Name of the autoencoder.
        arguments: Its hyper-parameters, by the names of its constructor.
        uncertainty: Predict a variance for every value; the loss becomes the Gaussian negative log likelihood.
        neighbors: Number of weightings of the neighbours' values; 0 leaves the neighbours out.
    """

    name: str = "transformer"
    arguments: dict[str, Any] | None = None
    uncertainty: bool = False
    neighbors: int = 0


@dataclasses.dataclass
class ReconstructionLossOptions:
    """The loss.

    Args:
        kind: Error of a point; "chi2" needs measurement errors, "gaussian_nll" a model with uncertainty.
        hidden_weight: Weight of the hidden points against the visible ones; all points count alike by default.
        huber_delta: Where the Huber loss turns from squares to absolute values.
        max_horizon: Train the bidirectional minGRU to predict each point from the states so many steps away, a number
            drawn anew for each batch up to this one (the bounded-horizon loss); its usual distance is one step.
        spectra_weight: Weight of the mean squared error of the spectra, for models of several modalities.
    """

    kind: Literal["mse", "mae", "huber", "chi2", "gaussian_nll"] | None = None
    hidden_weight: float | None = None
    huber_delta: float = 1.0
    max_horizon: int | None = None
    spectra_weight: float = 1.0


@dataclasses.dataclass
class ReconstructionTrainerOptions(CommonTrainerOptions):
    """How to train; names as in Lightning's Trainer.

    Args:
        gradient_clip_val: Largest norm of the gradient; the documented one of the model by default, "none" never clips.
        monitor: Validation error that chooses the best epoch: that of hidden points, or the loss.
        figures_every_n_epochs: Epochs between two figures of reconstructions.
    """

    gradient_clip_val: float | Literal["none"] | None = None  # type: ignore[assignment]
    monitor: Literal["val_masked", "val_loss"] = "val_masked"
    figures_every_n_epochs: int = 10


@dataclasses.dataclass
class ReconstructionOptimizerOptions(OptimizerOptions):
    """The optimizer and its schedule.

    Args:
        learning_rate: Highest learning rate; the documented one of the model by default.
        weight_decay: Weight decay; the documented one of the model by default.
    """

    learning_rate: float | None = None  # type: ignore[assignment]
    weight_decay: float | None = None  # type: ignore[assignment]
    schedule: Literal["cosine", "one_cycle", "constant", "multi_step"] = "one_cycle"
    pct_start: float = 0.1
    div_factor: float = 100.0
    final_div_factor: float = 100.0


@dataclasses.dataclass
class ReconstructionOptions:
    """The run as a whole.

    Args:
        data: The series, how they are scaled, and which of them train.
        masking: Blocks of points that are hidden in training.
        model: The autoencoder.
        loss: The loss.
        optimizer: The optimizer and its schedule.
        trainer: How to train.
        seed: Seed of the split, the weights, the masks and the order of the samples.
        output: Folder of the run; runs/<name of the data>-<model> by default.
        overwrite: Replace the run that is already in the folder.
        resume: Continue the run in the folder where it stopped.
        compile: Compile the model with torch.compile.
    """

    data: ReconstructionDataOptions = dataclasses.field(default_factory=ReconstructionDataOptions)
    masking: Masking = dataclasses.field(default_factory=Masking)
    model: ReconstructionModelOptions = dataclasses.field(default_factory=ReconstructionModelOptions)
    loss: ReconstructionLossOptions = dataclasses.field(default_factory=ReconstructionLossOptions)
    optimizer: ReconstructionOptimizerOptions = dataclasses.field(default_factory=ReconstructionOptimizerOptions)
    trainer: ReconstructionTrainerOptions = dataclasses.field(default_factory=ReconstructionTrainerOptions)
    seed: int = 42
    output: str | None = None
    overwrite: bool = False
    resume: bool = False
    compile: bool = False

    def check(self) -> None:
        """Refuse values that can be seen to be wrong without the data.

        Raises:
            InputError: If a value is out of range.
        """
        data = self.data
        if data.path is None:
            raise InputError("no data: name a file of light curves or spectra, or a data set")
        if self.model.name not in MODEL_DEFAULTS:
            raise InputError(f"model.name is {self.model.name!r}; expected one of {', '.join(MODEL_DEFAULTS)}")
        positive = {
            "data.steps": data.steps,
            "data.batch_size": data.batch_size,
            "data.max_held_block": data.max_held_block,
            "data.k": data.k,
            "loss.max_horizon": self.loss.max_horizon,
            "trainer.max_epochs": self.trainer.max_epochs,
            "trainer.figures_every_n_epochs": self.trainer.figures_every_n_epochs,
        }
        for name, value in positive.items():
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if not (0 < data.val < 1 and 0 <= data.test < 1 and data.val + data.test < 1):
            raise InputError(
                f"data.val is {data.val} and data.test {data.test}; expected shares that leave something to train on"
            )
        if self.loss.kind == "gaussian_nll" and not self.model.uncertainty:
            raise InputError("loss.kind is 'gaussian_nll', which needs model.uncertainty")
        if self.loss.max_horizon is not None and not (
            self.model.name == "bidirectional_mingru" and self.model.uncertainty
        ):
            raise InputError("loss.max_horizon needs model.name 'bidirectional_mingru' with model.uncertainty")
        if self.loss.max_horizon is not None and self.model.neighbors:
            raise InputError(
                "loss.max_horizon and model.neighbors exclude each other: neighbours tell of the same step"
            )
        if data.spectra is not None and self.model.name != "multimodal":
            raise InputError(f"data.spectra is for model.name 'multimodal', and the model is {self.model.name!r}")
        if data.spectra is None and self.model.name == "multimodal":
            raise InputError("model.name 'multimodal' needs data.spectra, the file with the spectra of the stars")
        if data.shuffle_edges and not self.model.neighbors:
            raise InputError("data.shuffle_edges has no effect without model.neighbors")
        if data.steps_per_cycle is not None and data.scaling != "climatology":
            raise InputError("data.steps_per_cycle is for data.scaling 'climatology'")
        if not 0 <= self.optimizer.pct_start <= 1:
            raise InputError(f"optimizer.pct_start is {self.optimizer.pct_start}; expected a share from 0 to 1")
        if data.scaling == "climatology" and (data.steps_per_cycle is None or data.steps_per_cycle < 2):
            raise InputError(f"data.steps_per_cycle is {data.steps_per_cycle}; scaling='climatology' needs 2 or more")
        if self.overwrite and self.resume:
            raise InputError("overwrite and resume exclude each other: one replaces the run, the other continues it")
        self.masking.check()

    def resolved(self) -> ReconstructionOptions:
        """Return the options with the documented training of the model where nothing else is said."""
        rate, decay, batch_size, clip = MODEL_DEFAULTS[self.model.name]
        optimizer, trainer = self.optimizer, self.trainer
        return dataclasses.replace(
            self,
            data=dataclasses.replace(self.data, batch_size=self.data.batch_size or batch_size),
            loss=dataclasses.replace(
                self.loss, kind=self.loss.kind or ("gaussian_nll" if self.model.uncertainty else "mse")
            ),
            optimizer=dataclasses.replace(
                optimizer,
                learning_rate=rate if optimizer.learning_rate is None else optimizer.learning_rate,
                weight_decay=decay if optimizer.weight_decay is None else optimizer.weight_decay,
            ),
            trainer=dataclasses.replace(
                trainer, gradient_clip_val=clip if trainer.gradient_clip_val is None else trainer.gradient_clip_val
            ),
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ReconstructionOptions:
        """Build options from a dictionary such as the content of ``config.yaml``."""
        groups = {
            "data": ReconstructionDataOptions,
            "masking": Masking,
            "model": ReconstructionModelOptions,
            "loss": ReconstructionLossOptions,
            "optimizer": ReconstructionOptimizerOptions,
            "trainer": ReconstructionTrainerOptions,
        }
        return cls(**{k: groups[k](**v) if k in groups else v for k, v in values.items()})
