"""The hyper-parameters that a model was published with, as options of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

import stgraph.models
from stgraph.errors import InputError
from stgraph.models.options import nearest_name

__all__ = ["published_options"]

_FOLDER = Path(stgraph.models.__file__).parent / "published"

#: Where each entry of ``training`` goes.
_TRAINING = {
    "max_epochs": "trainer.max_epochs",
    "batch_size": "data.batch_size",
    "learning_rate": "optimizer.learning_rate",
    "weight_decay": "optimizer.weight_decay",
    "optimizer": "optimizer.name",
    "eps": "optimizer.eps",
    "schedule": "optimizer.schedule",
    "milestones": "optimizer.milestones",
    "gamma": "optimizer.gamma",
    "gradient_clip_val": "trainer.gradient_clip_val",
    "early_stopping": "trainer.early_stopping",
    "monitor": "trainer.monitor",
    "loss": "loss.point",
}


def published_options(model: str, dataset: str, folder: Path = _FOLDER) -> dict[str, dict[str, Any]]:
    """Return what a model was published with for a data set, or for all that it was not published with.

    Args:
        model: Name of the model.
        dataset: Name of the data set.
        folder: Where the settings are.

    Returns:
        dict: The options by group, as a configuration of a run has them.

    Raises:
        InputError: If there are no settings of this model for this data set, or they cannot be understood.
    """
    path = folder / f"{model}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        raise InputError(f"there are no published settings of the model {model!r}{nearest_name(model, known)}")
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))["settings"]
    chosen = settings.get(dataset, settings.get("default"))
    if chosen is None:
        raise InputError(f"{path.name} has no settings for {dataset!r} and no default; it has {sorted(settings)}")
    arguments = chosen.get("arguments") or {}
    # Models whose options are a part of the configuration of a run have no arguments besides.
    own = model in ("spectranet", "fno")
    options: dict[str, dict[str, Any]] = {"model": dict(arguments) if own else {"arguments": dict(arguments)}}
    for name, value in (chosen.get("training") or {}).items():
        if name not in _TRAINING:
            raise InputError(f"{path.name} has the unknown training option {name!r}{nearest_name(name, _TRAINING)}")
        group, option = _TRAINING[name].split(".")
        options.setdefault(group, {})[option] = value
    if "loss" in options:
        # Published networks are trained on the errors alone.
        options["loss"] |= {"frequency_weight": 0.0, "quantile_weight": 0.0}
    return options
