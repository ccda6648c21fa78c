"""The four files of the original SpecTra-Net, with its names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.models.base import Forecaster
from stgraph.tasks.checkpoints import write_atomically, write_tensors
from stgraph.tasks.evaluation import Forecasts
from stgraph.tasks.folder import RunFolder, write_json
from stgraph.tasks.options import DataOptions, RunOptions, to_dict

__all__ = ["artefact_name", "write_artefacts"]


def artefact_name(options: DataOptions, grid: bool) -> str:
    """Return ``spectranet_<crop>_<channels>[_NODE]``, what the names of the four files begin with.

    >>> artefact_name(DataOptions(crop="center", crop_size=8, channels=[0, 2]), grid=True)
    'spectranet_center8_ch0_2'
    >>> artefact_name(DataOptions(), grid=False)
    'spectranet_full_allch_NODE'
    """
    crop = "full"
    if options.crop != "none":
        crop = f"{options.crop}{options.crop_size}"
        if options.crop == "box" and options.crop_box is not None:
            crop = "boxH{}-{}_W{}-{}".format(*options.crop_box)
        if not grid:
            crop = "skipCrop(node)"
    channels = "allch" if options.channels is None else "ch" + "_".join(map(str, options.channels))
    return f"spectranet_{crop}_{channels}{'' if grid else '_NODE'}"


def write_artefacts(
    folder: RunFolder,
    options: RunOptions,
    model: Forecaster,
    series: Data,
    forecasts: Forecasts,
    results: dict[str, Any],
) -> None:
    """Write weights, forecasts, targets and results as the original does.

    Arrays have the shape (S, H, W, C) for one step ahead and (S, Q, H, W, C) for more; nodes that are no grid count as
    a grid of one row. The weights load with ``weights_only=True``.
    """
    grid = series.get("grid")
    base = folder.path / artefact_name(options.data, grid is not None)
    nodes, _, channels = series.x.shape
    shape = tuple(grid) if grid is not None else (1, nodes)
    names = series.get("channel_names") or [f"Ch{i}" for i in range(channels)]
    content = {
        "model": {name: value.cpu() for name, value in model.state_dict().items()},
        "cfg": to_dict(options),
        "scaler": {name: value.cpu() for name, value in model.scaler.state_dict().items()},
        "channels": list(range(channels)) if options.data.channels is None else list(options.data.channels),
        "channel_names": list(names),
    }
    write_tensors(Path(f"{base}.pt"), content)
    median = None if model.quantiles is None else model.quantiles.index(0.5)
    point = forecasts.prediction if median is None else forecasts.prediction[..., median]
    target = np.where(forecasts.mask, forecasts.target, np.nan).astype(np.float32)
    write_array(Path(f"{base}_y_pred_test.npy"), as_frames(point, shape))
    write_array(Path(f"{base}_y_true_test.npy"), as_frames(target, shape))
    write_json(
        Path(f"{base}_results.json"),
        {
            "config": to_dict(options),
            "channels": content["channels"],
            "channel_names": content["channel_names"],
            "best_val_rmse": results.get("best_val_rmse"),
            "final_metrics": {k: results["test"][k] for k in ("global", "per_channel")},
        },
    )


def as_frames(array: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Turn ``[S, N, Q, C]`` into frames ``[S, H, W, C]``, or ``[S, Q, H, W, C]`` for more than one step.

    >>> as_frames(np.zeros((2, 6, 1, 1), np.float32), (2, 3)).shape
    (2, 2, 3, 1)
    """
    frames = np.moveaxis(array, 2, 1).reshape(array.shape[0], array.shape[2], *shape, array.shape[3])
    return frames[:, 0] if array.shape[2] == 1 else frames


def write_array(path: Path, array: npt.NDArray[np.float32]) -> None:
    """Write a ``.npy`` file, whole or not at all."""
    write_atomically(path, lambda temporary: np.save(temporary, array))
