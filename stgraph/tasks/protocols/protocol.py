"""What a protocol fixes, and the protocols there are.

This file imports nothing heavy, so that the command line can name the protocols without loading torch.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stgraph.errors import InputError
from stgraph.models.options import nearest_name

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FAMILIES", "PROTOCOLS", "Family", "Protocol", "choose_protocols", "family_of", "get_protocol"]

Family = Literal["speed", "flow", "largest"]

#: METR-LA, PEMS-BAY, PeMSD7(M) and all other sets; PEMS03, 04, 07 and 08; LargeST.
FAMILIES: tuple[Family, ...] = ("speed", "flow", "largest")

_FLOW = re.compile(r"pems(d?)0?[3478]$")


def family_of(name: str) -> Family:
    """Return the family of a data set by its name or the name of its file; ``"speed"`` for all that is not known.

    >>> family_of("metr_la"), family_of("PEMS04.npz"), family_of("largest_sd")
    ('speed', 'flow', 'largest')
    """
    plain = re.sub(r"[^a-z0-9]", "", Path(name).name.split(".")[0].lower())
    if plain.startswith("largest"):
        return "largest"
    return "flow" if _FLOW.match(plain) else "speed"


@dataclasses.dataclass(frozen=True)
class Protocol:
    r"""How a harness splits a series, feeds it, masks the loss and averages the errors.

    Args:
        name: Name of the protocol.
        summary: What sets it apart, in a line.
        source: Where its rules can be read.
        shares: Shares of training, validation and test by family of data sets.
        split: ``"steps"`` splits the steps and cuts windows from each part, so that none straddles; ``"windows"``
            splits the list of all windows, training and test rounded, validation the rest; ``"windows_test_rest"``
            likewise with test as the rest; ``"windows_gap"`` cuts off test, then validation from the rest, both rounded
            down, and drops as many windows between parts as there are input steps.
        scaler: Which training values mean and deviation are of: ``"train_windows"`` the inputs of the training windows,
            where steps at the edges appear less often, nulls included as zeros; ``"train_steps"`` the first steps up to
            the share of training, zeros included; ``"before_validation"`` the steps before the input of the first
            validation window, less one, zeros included; ``"observed"`` the observed values of the training period.
        inputs: What stands for a null in the input by family: ``"zero"`` the value 0, ``"forward_fill"`` the last
            observed value of the node, ``"mask"`` nothing, as the model is given the mask.
        nulls: Which targets do not count: ``"value"`` those within ``tolerance`` of the null value, ``"minimum"`` those
            equal to the null value, in whose place the least target is taken where that is below 1, ``"mask"`` those
            that the mask leaves out.
        tolerance: Largest distance from the null value that counts as null; exact where 0.
        unmasked: Families where all targets count in the errors, nulls too.
        loss: Training loss by family, as published; the loss of a run is set by its options.
        loss_unmasked: Families where all targets count in the loss, nulls too.
        mape: ``"plain"`` divides by :math:`|y|`, whatever that is; ``"epsilon"`` by :math:`|y + 5 \cdot 10^{-8}|`;
            ``"threshold"`` leaves out targets with :math:`|y| < 5 \cdot 10^{-5}`.
        average: ``"global"`` is one mean over all steps; ``"mean_of_steps"`` the mean of the values of the steps.
        at: What the value at step h is of: ``"step"`` that step, ``"first_steps"`` the first h steps together.
        last_batch: Of 64 windows each: ``"keep"``, ``"drop"`` where it is not full, or ``"pad"`` it with its last
            window.

    Examples:
        >>> protocol = PROTOCOLS["basicts"]
        >>> {stage: len(starts) for stage, starts in protocol.starts(34272, 12, 12, "speed").items()}
        {'train': 23968, 'val': 3404, 'test': 6831}
    """

    name: str
    summary: str
    source: str
    shares: Mapping[Family, tuple[int, int, int]]
    split: Literal["steps", "windows", "windows_test_rest", "windows_gap"]
    scaler: Literal["train_windows", "train_steps", "before_validation", "observed"]
    inputs: Mapping[Family, Literal["zero", "forward_fill", "mask"]]
    nulls: Literal["value", "minimum", "mask"]
    tolerance: float = 0.0
    unmasked: tuple[Family, ...] = ()
    loss: Mapping[Family, str] = dataclasses.field(default_factory=lambda: dict.fromkeys(FAMILIES, "mae"))
    loss_unmasked: tuple[Family, ...] = ()
    mape: Literal["plain", "epsilon", "threshold"] = "plain"
    average: Literal["global", "mean_of_steps"] = "global"
    at: Literal["step", "first_steps"] = "step"
    last_batch: Literal["keep", "drop", "pad"] = "keep"

    def starts(self, num_steps: int, input_steps: int, horizon: int, family: Family = "speed") -> dict[str, Tensor]:
        """Return the first steps of the windows of ``"train"``, ``"val"`` and ``"test"``.

        Args:
            num_steps: Number of steps T of the series.
            input_steps: Number of input steps P.
            horizon: Number of target steps Q.
            family: Family of the data set, which the shares depend on.

        Raises:
            InputError: If a part would have no window.
        """
        from stgraph.tasks.protocols.splits import split_starts

        return split_starts(self.split, self.shares[check_family(family)], num_steps, input_steps, horizon)

    def horizons(self, num_steps: int) -> list[int]:
        """Return the steps that errors are reported at, of Q; ``strict`` adds the last one.

        >>> PROTOCOLS["dcrnn"].horizons(7), PROTOCOLS["strict"].horizons(7)
        ([3, 6], [3, 6, 7])
        """
        steps = {step for step in (3, 6, 12) if step <= num_steps}
        return sorted(steps | {num_steps} if self.name == "strict" else steps)


def check_family(family: str) -> Family:
    """Return the family.

    Raises:
        InputError: If there is none of that name.
    """
    for known in FAMILIES:
        if family == known:
            return known
    raise InputError(f"family is {family!r}; expected one of {list(FAMILIES)}")


def get_protocol(name: str | Protocol) -> Protocol:
    """Return a protocol by name; a protocol as it is.

    Raises:
        InputError: If there is none of that name; tells the nearest.
    """
    if isinstance(name, Protocol):
        return name
    if name not in PROTOCOLS:
        raise InputError(f"protocol is {name!r}{nearest_name(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def choose_protocols(names: str) -> list[Protocol]:
    """Return the protocols of a list such as ``"dcrnn,strict"``, or ``"all"``.

    >>> [protocol.name for protocol in choose_protocols("dcrnn, strict")]
    ['dcrnn', 'strict']

    Raises:
        InputError: If a name is unknown, or there is none.
    """
    words = [word.strip() for word in names.split(",") if word.strip()]
    if not words:
        raise InputError(f"protocol is {names!r}; expected 'all' or some of {list(PROTOCOLS)}")
    return list(PROTOCOLS.values()) if words == ["all"] else [get_protocol(word) for word in dict.fromkeys(words)]


def _each(speed: tuple[int, int, int], flow: tuple[int, int, int]) -> dict[Family, tuple[int, int, int]]:
    return {"speed": speed, "flow": flow, "largest": flow}


_ZEROS: dict[Family, Literal["zero", "forward_fill", "mask"]] = {"speed": "zero", "flow": "zero", "largest": "zero"}

_ALL = (
    Protocol(
        name="dcrnn",
        summary="window then split; targets equal to the null do not count; one global mean",
        source="liyaguang/DCRNN scripts/generate_training_data.py, lib/metrics.py; XDZhelheim/STAEformer",
        shares=_each((7, 1, 2), (6, 2, 2)),
        split="windows",
        scaler="train_windows",
        inputs=_ZEROS,
        nulls="value",
        loss={"speed": "mae", "flow": "huber", "largest": "mae"},
        loss_unmasked=("flow",),
    ),
    Protocol(
        name="basicts",
        summary="split then window; targets within 5e-5 of the null do not count; one global mean",
        source="GestaltCogTeam/BasicTS v0.5.8 basicts/metrics, basicts/scaler/z_score_scaler.py",
        shares=_each((7, 1, 2), (6, 2, 2)),
        split="steps",
        scaler="train_steps",
        inputs=_ZEROS,
        nulls="value",
        tolerance=5e-5,
        mape="threshold",
    ),
    Protocol(
        name="tsl",
        summary="a gap of windows between parts; explicit masks, none on PEMS0x; sums over counts",
        source="TorchSpatiotemporal/tsl tsl/data/datamodule/splitters.py, tsl/metrics/torch, tsl/datasets",
        shares=_each((72, 8, 20), (64, 16, 20)),
        split="windows_gap",
        scaler="observed",
        inputs={"speed": "forward_fill", "flow": "zero", "largest": "zero"},
        nulls="mask",
        unmasked=("flow",),
        loss_unmasked=("flow",),
        mape="epsilon",
    ),
    Protocol(
        name="largest",
        summary="mean of the errors of the steps; last batch dropped where it is not full; null is the least target",
        source="liuxu77/LargeST data/generate_data_for_training.py, src/base/engine.py, src/utils/dataloader.py",
        shares=_each((6, 2, 2), (6, 2, 2)),
        split="windows_test_rest",
        scaler="before_validation",
        inputs=_ZEROS,
        nulls="minimum",
        average="mean_of_steps",
        last_batch="drop",
    ),
    Protocol(
        name="libcity",
        summary="step h is the mean of the first h steps; last batch padded with repeats; nulls within 1e-4",
        source="LibCity/Bigscity-LibCity evaluator/traffic_state_evaluator.py (mode average), model/loss.py",
        shares=_each((7, 1, 2), (7, 1, 2)),
        split="windows",
        scaler="train_windows",
        inputs=_ZEROS,
        nulls="value",
        tolerance=1e-4,
        at="first_steps",
        last_batch="pad",
    ),
    Protocol(
        name="strict",
        summary="split then window, nothing straddles, nothing is dropped; explicit masks; global sums",
        source="stgraph",
        shares=_each((7, 1, 2), (6, 2, 2)),
        split="steps",
        scaler="observed",
        inputs=dict.fromkeys(FAMILIES, "mask"),
        nulls="mask",
        mape="threshold",
    ),
)

#: Every protocol by its name.
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}
