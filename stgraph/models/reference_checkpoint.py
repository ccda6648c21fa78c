"""Reading of checkpoints that the original SpecTra-Net wrote."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy._core import multiarray as _multiarray
from torch import Tensor

from stgraph.errors import CheckpointError

if TYPE_CHECKING:
    from stgraph.models.spectranet import SpecTraNet

__all__ = ["load_reference_checkpoint"]

#: Names in the original's state, as patterns, and the parameters here. Weights of the bins are stacked.
_NAMES = {
    r"temporal\.pool_param": "temporal.tgating.logits",
    r"temporal\.in_proj\.(\w+)": r"temporal.lin_in.\1",
    r"temporal\.periodic_embed\.period_embeds\.(\d+)\.(\d)\.(\w+)": r"temporal.time_embedding.parts.\1.\2.\3",
    r"temporal\.noise_embed\.(\w+)": r"temporal.mean_embedding.\1",
    r"temporal\.sfe\.combiner\.0\.(\w+)": r"temporal.sfe.combine1.\1",
    r"temporal\.sfe\.combiner\.2\.(\w+)": r"temporal.sfe.combine2.\1",
    r"spatial\.got\.proto": "got.prototypes",
    r"spatial\.got\.proto_xy": "got.prototype_pos",
    r"spatial\.got\.proj_q\.weight": "got.lin_query.weight",
    r"spatial\.got\.proj_p\.weight": "got.lin_prototype.weight",
    r"spatial\.got\.(norm|ffn\.[02])\.(\w+)": r"got.\1.\2",
    r"spatial\.mgat\.to_q\.(\w+)": r"mgat.lin_query.\1",
    r"spatial\.mgat\.to_k\.(\w+)": r"mgat.lin_key.\1",
    r"spatial\.mgat\.to_v\.(\w+)": r"mgat.lin_value.\1",
    r"spatial\.mgat\.out\.0\.(\w+)": r"mgat.lin_out.\1",
    r"spatial\.mgat\.norm\.(\w+)": r"mgat.norm.\1",
    r"spatial\.mgat\.s_summary\.(\d)\.(\w+)": r"mgat.plan_summary.\1.\2",
    r"spatial\.mgat\.z_gate\.0\.(\w+)": r"mgat.node_summary.0.\1",
    r"spatial\.mgat\.param_head\.(\w+)": r"mgat.lin_metric.\1",
    r"spatial\.mgat\.scale_gate\.(\w+)": r"mgat.lin_gate.\1",
    r"out_proj\.(\w+)": r"lin_out.\1",
}
_BIN = re.compile(r"temporal\.sfe\.sfe_processors\.(\d+)\.(\d)\.(weight|bias)")


def load_reference_checkpoint(
    cls: type[SpecTraNet], path: str | os.PathLike[str], pos: Any, grid: tuple[int, int] | None
) -> SpecTraNet:
    """Build the ``reference`` preset from a checkpoint (see :meth:`SpecTraNet.from_reference_checkpoint`)."""
    content = _read(Path(path))
    cfg, state = content["cfg"], content["model"]
    pos = None if pos is None else torch.as_tensor(np.asarray(pos), dtype=torch.float32)
    if pos is None and cfg.get("COORDS_NPY"):
        raise CheckpointError(f"{path} was trained with coordinates from {cfg['COORDS_NPY']!r}; give them as pos")
    lacking = {"temporal.in_proj.weight", "temporal.pool_param"} - set(state)
    if lacking:
        raise CheckpointError(f"{path} lacks the weights {sorted(lacking)}")
    model = _build(cls, cfg, state, 2 if pos is None else int(pos.shape[-1]))
    try:
        missing, unexpected = model.load_state_dict(_translate(state), strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its own configuration: {error}") from error
    own = ("time_origin", "time_step", "quantile_offset", "scaler.", "geometry.", "temporal.sfe.gain")
    missing = [name for name in missing if not name.startswith(own)]
    if missing or unexpected:
        raise CheckpointError(f"{path} lacks {missing} and has unknown {unexpected}")
    _set_scaler(model, content)
    model.geometry.default_pos = pos
    if grid is not None:
        model.geometry.default_grid = (int(grid[0]), int(grid[1]))
    elif not cfg.get("NODE_MODE", True):
        model.geometry.default_grid = (int(cfg["H"]), int(cfg["W"]))
    return model.eval()


def _read(path: Path) -> dict[str, Any]:
    safe: list[Any] = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8"))]
    for core in ("core", "_core"):  # the module's name before and after NumPy 2
        safe += [(getattr(_multiarray, name), f"numpy.{core}.multiarray.{name}") for name in ("_reconstruct", "scalar")]
    try:
        with torch.serialization.safe_globals(safe):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or holds more than arrays and plain values: {error}") from error
    wanted = {"model", "cfg", "min", "max"}
    if not isinstance(content, dict) or not wanted <= set(content):
        raise CheckpointError(f"{path} is no checkpoint of the original; expected a dictionary with {sorted(wanted)}")
    return content


def _build(cls: type[SpecTraNet], cfg: dict[str, Any], state: dict[str, Tensor], pos_dim: int) -> SpecTraNet:
    channels = int(state["temporal.in_proj.weight"].shape[1])
    use_got = any(name.startswith("spatial.got.") for name in state)
    return cls(
        channels,
        input_steps=int(state["temporal.pool_param"].shape[0]),
        horizon=1,
        pos_dim=pos_dim,
        preset="reference",
        d_model=int(state["temporal.in_proj.weight"].shape[0]),
        dropout=float(cfg.get("DROPOUT", 0.1)),
        use_sfe=any(_BIN.fullmatch(name) for name in state),
        num_frequencies=int(cfg.get("NUM_FREQUENCIES", 16)),
        use_tgating=bool(cfg.get("USE_TGATING", True)),
        tgating_gain=float(cfg.get("TGATING_GAIN", 0.2)),
        periods=[float(p) for p in cfg.get("PERIODS", (48, 168))],
        use_got=use_got and bool(cfg.get("USE_GOT", True)),
        num_prototypes=int(state["spatial.got.proto"].shape[0]) if use_got else None,
        got_eps=float(cfg.get("GOT_EPS", 0.08)),
        got_tau=float(cfg.get("GOT_TAU", 1.4)),
        got_embedding_distance=bool(cfg.get("GOT_USE_EMB_DIST", True)),
        use_mgat=bool(cfg.get("USE_MGAT", True)) and any(name.startswith("spatial.mgat.") for name in state),
        num_neighbors=int(cfg.get("DLAK_K", 32)),
        mgat_radius=float(cfg.get("MGAT_R0", 1.5)),
        residual_to_last=bool(cfg.get("USE_RESIDUAL_TO_LAST", True)),
    )


def _translate(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    bins: dict[str, dict[int, Tensor]] = {}
    for name, value in state.items():
        if match := _BIN.fullmatch(name):
            layer = 1 if match[2] == "0" else 2
            bins.setdefault(f"temporal.sfe.{match[3]}{layer}", {})[int(match[1])] = value
            continue
        for pattern, replacement in _NAMES.items():
            if match := re.fullmatch(pattern, name):
                renamed[match.expand(replacement)] = value
                break
        else:
            renamed[name] = value
    if "temporal.tgating.logits" in renamed:
        renamed["temporal.tgating.logits"] = renamed["temporal.tgating.logits"].squeeze(-1)
    for name, by_bin in bins.items():
        renamed[name] = torch.stack([by_bin[i] for i in sorted(by_bin)])
    return renamed


def _set_scaler(model: SpecTraNet, content: dict[str, Any]) -> None:
    low, high = (torch.as_tensor(np.asarray(content[key]), dtype=torch.float64).flatten() for key in ("min", "max"))
    if low.numel() != model.in_channels or high.numel() != model.in_channels:
        raise CheckpointError(f"min has {low.numel()} and max {high.numel()} entries; expected {model.in_channels}")
    width = high - low
    model.scaler.center.copy_(low.reshape(1, 1, -1))
    model.scaler.scale.copy_((torch.where(width < 1e-6, 1.0, width) + 1e-6).reshape(1, 1, -1))
