"""The rules of the protocols in words, side by side."""

from __future__ import annotations

from collections.abc import Callable

from stgraph.tasks.protocols.protocol import FAMILIES, PROTOCOLS, Protocol, get_protocol

__all__ = ["describe"]

_SPLIT = {
    "steps": "split then window",
    "windows": "window then split",
    "windows_test_rest": "window then split, test is the rest",
    "windows_gap": "window then split, P windows dropped between parts",
}
_SCALER = {
    "train_windows": "inputs of training windows, zeros included",
    "train_steps": "training steps, zeros included",
    "before_validation": "steps before validation, zeros included",
    "observed": "observed training values",
}
_INPUTS = {"zero": "zeros", "forward_fill": "forward-filled", "mask": "with their mask"}
_MAPE = {"plain": "over abs(y)", "epsilon": "over abs(y + 5e-8)", "threshold": "abs(y) < 5e-5 left out"}
_AVERAGE = {"global": "one global mean", "mean_of_steps": "mean of the steps' errors"}
_AT = {"step": "that step", "first_steps": "the first h steps together"}
_LAST_BATCH = {"keep": "counts", "drop": "dropped where not full (64)", "pad": "padded with repeats (64)"}


def describe(*protocols: str | Protocol) -> str:
    """Return a Markdown table of what the given protocols, by default all, do differently.

    Values that depend on the data set are those of METR-LA, PEMS-BAY and others / PEMS03 to 08 / LargeST.

    Raises:
        InputError: If a name is unknown.

    Example:
        >>> print(describe("strict").splitlines()[2])
        | split | 7:1:2 / 6:2:2 / 6:2:2, split then window |
    """
    chosen = [get_protocol(protocol) for protocol in protocols] or list(PROTOCOLS.values())
    rows = [["", *(protocol.name for protocol in chosen)], ["---"] * (len(chosen) + 1)]
    rows += [[title, *(row(protocol) for protocol in chosen)] for title, row in _ROWS.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _split(protocol: Protocol) -> str:
    shares = [":".join(map(str, protocol.shares[family])) for family in FAMILIES]
    return f"{_families(shares)}, {_SPLIT[protocol.split]}"


def _nulls(protocol: Protocol) -> str:
    if protocol.nulls == "mask":
        rule = "by mask"
    elif protocol.nulls == "minimum":
        rule = "y == null, or the least y where below 1"
    else:
        rule = f"abs(y - null) <= {protocol.tolerance:g}" if protocol.tolerance else "y == null"
    return _families(["none" if family in protocol.unmasked else rule for family in FAMILIES])


def _loss(protocol: Protocol) -> str:
    kinds = {family: "all targets" if family in protocol.loss_unmasked else "masked" for family in FAMILIES}
    return _families([f"{protocol.loss[family]}, {kinds[family]}" for family in FAMILIES])


def _families(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else " / ".join(values)


_ROWS: dict[str, Callable[[Protocol], str]] = {
    "split": _split,
    "scaler": lambda protocol: _SCALER[protocol.scaler],
    "nulls in the input": lambda protocol: _families([_INPUTS[protocol.inputs[family]] for family in FAMILIES]),
    "training loss": _loss,
    "nulls in the errors": _nulls,
    "MAPE": lambda protocol: _MAPE[protocol.mape],
    "step h": lambda protocol: _AT[protocol.at],
    "average": lambda protocol: _AVERAGE[protocol.average],
    "last batch of the test": lambda protocol: _LAST_BATCH[protocol.last_batch],
    "source": lambda protocol: protocol.source,
}
