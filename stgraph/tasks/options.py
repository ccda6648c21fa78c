"""The configuration of a training run: what ``config.yaml`` holds and what the flags of ``stgraph train`` set.

This file imports nothing heavy, so that the command line can print its help without loading torch.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from stgraph.data.datasets.catalog import catalog
from stgraph.errors import InputError
from stgraph.models.fno_options import FNOOptions
from stgraph.models.options import LossOptions, SpecTraNetOptions
from stgraph.tasks.protocols.protocol import get_protocol

__all__ = [
    "BASELINES",
    "DATASETS",
    "CommonTrainerOptions",
    "DataOptions",
    "ModelOptions",
    "OptimizerOptions",
    "RunOptions",
    "TrainerOptions",
    "to_dict",
]

#: The data sets of the catalogue by name, with the numbers of input and output steps that suit each.
DATASETS: dict[str, tuple[int, int]] = {name: (e.input_steps, e.horizon) for name, e in catalog().items()}

#: What every trained model is compared with.
BASELINES: tuple[str, ...] = ("persistence", "climatology", "ridge")


@dataclasses.dataclass
class DataOptions:
    """The series, its graph, its split and its windows.

    Args:
        path: File with the series (.npy, .npz, .csv, .h5, .nc, .zarr) or the name of a data set ("stgraph data list").
        arguments: Reading options of a data set, by the names of its constructor.
        test: File with the test period, where it is a file of its own.
        key: What to read in files that hold several things: an array of an .npz file, a table or group of others.
        coords: File with the coordinates of the nodes (N, D): .npy, or .csv with one row per node.
        coordinates: Meaning of the coordinates; "local_plane" and "great_circle" read longitude and latitude in
            degrees. By default those of a file are "cartesian", those of a data set what it says.
        null_value: Number that stands for a missing value; NaN always does.
        channels: Channels to keep, by index or by name; all by default.
        out_channels: Number of channels to forecast, the first ones of those kept; all by default.
        crop: How to crop a grid; node data is never cropped.
        crop_size: Height and width of the cropped square.
        crop_box: First and last (exclusive) row, first and last column of the box.
        input_steps: Number of input steps P; the data set's own, or 12.
        horizon: Number of steps to forecast Q; the data set's own, or 1.
        stride: Distance between the first steps of neighbouring windows.
        batch_size: Windows in a batch, over all devices together.
        split: Shares of training, validation and test; [7, 1, 2], or [9, 1] with a test file.
        val_start: First date of the validation period, instead of shares.
        test_start: First date of the test period, instead of shares.
        windows: "split_first" keeps windows inside their period; "window_first" splits the list of all windows.
        max_gap: Longest time from one step to the next inside a window: a duration ("2h"), a multiple of the usual step
            ("1.5x") or a number in the unit of the times.
        period_break: Number of steps after which the series breaks, such as those of a service day; no window crosses
            a break.
        edges: Where edges come from: "model" connects as many nearest neighbours as the model asks for (on a grid, the
            nearest cells), "own" takes those that come with the data set.
        k: Number of neighbours of edges="knn".
        radius: Radius of edges="radius", in units of the coordinates.
        neighbors: Neighbours in the stencil of edges="grid": 4, 8 or any k.
        adjacency: File with an N x N matrix (.npy, .npz, .csv, or .pkl as for METR-LA) for edges="file".
    """

    path: str | None = None
    arguments: dict[str, Any] | None = None
    test: str | None = None
    key: str | None = None
    coords: str | None = None
    coordinates: Literal["cartesian", "local_plane", "great_circle"] | None = None
    null_value: float | None = None
    channels: list[int | str] | None = None
    out_channels: int | None = None
    crop: Literal["none", "center", "top_left", "bottom_right", "random", "box"] = "none"
    crop_size: int = 20
    crop_box: list[int] | None = None
    input_steps: int | None = None
    horizon: int | None = None
    stride: int = 1
    batch_size: int = 8
    split: list[float] | None = None
    val_start: str | None = None
    test_start: str | None = None
    windows: Literal["split_first", "window_first"] = "split_first"
    max_gap: float | str | None = None
    period_break: int | None = None
    edges: Literal["model", "own", "knn", "radius", "grid", "file"] = "model"
    k: int = 32
    radius: float | None = None
    neighbors: int = 8
    adjacency: str | None = None


@dataclasses.dataclass
class ModelOptions(SpecTraNetOptions, FNOOptions):
    """The model and its hyper-parameters, SpecTra-Net's unless said; those left at null take the value of the preset.

    Args:
        name: Name of the model.
        arguments: Hyper-parameters of the other models, by the names of their constructors.
    """

    name: str = "spectranet"
    arguments: dict[str, Any] | None = None


@dataclasses.dataclass
class OptimizerOptions:
    """The optimizer and its schedule.

    Args:
        name: "adamw" decays weights apart from the gradient, "adam" through it.
        learning_rate: Learning rate; the highest one for schedule="one_cycle".
        weight_decay: Weight decay.
        eps: Constant that keeps the update finite where gradients vanish.
        schedule: "cosine" falls to zero over the epochs, "one_cycle" rises and falls over the steps, "multi_step"
            multiplies by gamma at each milestone.
        milestones: Epochs of schedule="multi_step".
        gamma: Factor of schedule="multi_step".
        pct_start: Share of the steps in which the rate of schedule="one_cycle" rises.
        div_factor: Highest rate of schedule="one_cycle" over its first one.
        final_div_factor: First rate of schedule="one_cycle" over its last one.
    """

    name: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 5e-4
    weight_decay: float = 1e-3
    eps: float = 1e-8
    schedule: Literal["cosine", "one_cycle", "constant", "multi_step"] = "cosine"
    milestones: list[int] = dataclasses.field(default_factory=list)
    gamma: float = 0.1
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4


@dataclasses.dataclass
class CommonTrainerOptions:
    """How to train any task; names as in Lightning's Trainer.

    Args:
        max_epochs: Number of epochs.
        accelerator: "auto" takes a CUDA device where there is one, else the CPU.
        devices: Number of devices of this machine.
        num_nodes: Number of machines.
        precision: Numerical precision, such as "32-true", "bf16-mixed" or "16-mixed".
        gradient_clip_val: Largest norm of the gradient; null never clips.
        early_stopping: Stop after this many epochs without a better validation error.
        max_time: Longest training time as DD:HH:MM:SS.
        limit_train_batches: Training batches in an epoch, as a number or a share.
        limit_val_batches: Validation batches, as a number or a share.
        deterministic: Use deterministic algorithms alone, so that a seed gives the same bits again.
        log_every_n_steps: Steps between two rows of the training loss in metrics.csv.
        checkpoint_every_n_steps: Write last.ckpt after so many steps too, not only after each epoch.
        progress_bar: Show a progress bar; by default in a terminal, with one line per epoch elsewhere.
        tensorboard: Write TensorBoard logs where tensorboard is installed.
    """

    max_epochs: int = 50
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: str = "32-true"
    gradient_clip_val: float | None = 1.0
    early_stopping: int | None = None
    max_time: str | None = None
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    deterministic: bool = True
    log_every_n_steps: int = 10
    checkpoint_every_n_steps: int | None = None
    progress_bar: bool | None = None
    tensorboard: bool = True


@dataclasses.dataclass
class TrainerOptions(CommonTrainerOptions):
    """How to train; names as in Lightning's Trainer.

    Args:
        monitor: Validation error that chooses the best epoch.
    """

    monitor: Literal["val_rmse", "val_mae"] = "val_rmse"


@dataclasses.dataclass
class RunOptions:
    """The run as a whole.

    Args:
        data: The series, its graph, its split and its windows.
        model: The model and its hyper-parameters.
        loss: Weights of the loss.
        optimizer: The optimizer and its schedule.
        trainer: How to train.
        protocol: Protocol of split, scaler, nulls and loss mask by name ("dcrnn", "basicts", ...); "strict", which
            takes all from the options, where none is named.
        seed: Seed of the weights, of dropout and of the order of the windows.
        seeds: Repeat the run with so many seeds, each in a folder of its own, and report mean and standard deviation.
        output: Folder of the run; runs/<name of the data> by default.
        overwrite: Replace the run that is already in the folder.
        resume: Continue the run in the folder where it stopped.
        compile: Compile the model with torch.compile.
        calibrate: Calibrate quantile outputs on the validation period (conformal prediction).
        baselines: Simple forecasts to compare with.
        report: Draw the figures and write report.html.
    """

    data: DataOptions = dataclasses.field(default_factory=DataOptions)
    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    loss: LossOptions = dataclasses.field(default_factory=LossOptions)
    optimizer: OptimizerOptions = dataclasses.field(default_factory=OptimizerOptions)
    trainer: TrainerOptions = dataclasses.field(default_factory=TrainerOptions)
    protocol: str | None = None
    seed: int = 42
    seeds: int = 1
    output: str | None = None
    overwrite: bool = False
    resume: bool = False
    compile: bool = False
    calibrate: bool = True
    baselines: list[str] = dataclasses.field(default_factory=lambda: list(BASELINES))
    report: bool = True

    def check(self) -> None:
        """Refuse values that can be seen to be wrong without the data.

        Raises:
            InputError: If a value is out of range.
        """
        positive = {
            "data.input_steps": self.data.input_steps,
            "data.horizon": self.data.horizon,
            "data.stride": self.data.stride,
            "data.batch_size": self.data.batch_size,
            "data.k": self.data.k,
            "trainer.max_epochs": self.trainer.max_epochs,
            "trainer.devices": self.trainer.devices,
            "trainer.num_nodes": self.trainer.num_nodes,
            "trainer.early_stopping": self.trainer.early_stopping,
            "trainer.log_every_n_steps": self.trainer.log_every_n_steps,
            "trainer.checkpoint_every_n_steps": self.trainer.checkpoint_every_n_steps,
            "seeds": self.seeds,
        }
        for name, value in positive.items():
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if self.optimizer.learning_rate <= 0:
            raise InputError(f"optimizer.learning_rate is {self.optimizer.learning_rate}; expected more than 0")
        if self.data.path is None:
            raise InputError("no data: name a file or one of the data sets " + ", ".join(DATASETS))
        if self.overwrite and self.resume:
            raise InputError("overwrite and resume exclude each other: one replaces the run, the other continues it")
        get_protocol(self.protocol or "strict")
        unknown = sorted(set(self.baselines) - set(BASELINES))
        if unknown:
            raise InputError(f"baselines names {unknown}; expected some of {list(BASELINES)}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunOptions:
        """Build options from a dictionary such as the content of ``config.yaml``."""
        groups = {
            "data": DataOptions,
            "model": ModelOptions,
            "loss": LossOptions,
            "optimizer": OptimizerOptions,
            "trainer": TrainerOptions,
        }
        return cls(**{k: groups[k](**v) if k in groups else v for k, v in values.items()})


def to_dict(options: RunOptions) -> dict[str, Any]:
    """Return the options as nested dictionaries of plain values."""
    return dataclasses.asdict(options)
