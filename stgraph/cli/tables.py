"""Tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["error_table", "format_share", "format_table", "part_table", "seed_table"]

_MAX_STEPS = 6


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns, the first to the left.

    >>> print(format_table(["", "MAE"], [["model", "1.5"]]))
            MAE
    model   1.5
    """
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join([row[0].ljust(widths[0] + 1), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in [header, *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


def part_table(results: Mapping[str, Any]) -> str:
    """Compare an autoencoder with simple reconstructions: mean squared errors of hidden, visible and all points."""
    parts = ("hidden", "visible", "all")
    rows = {"model": results["errors"], **results["baselines"]}
    return format_table(
        ["", *parts], [[name, *(f"{errors[part]['mse']:.4g}" for part in parts)] for name, errors in rows.items()]
    )


def error_table(results: Mapping[str, Any]) -> str:
    """Compare the model of a run with its simple forecasts: MAE and RMSE over all steps and by step."""
    test = results["test"]
    steps = chosen_steps(len(test["per_horizon"]["mae"]))
    header = ["", "MAE", "RMSE"]
    if len(steps) > 1:
        header += [f"MAE@{step + 1}" for step in steps] + [f"RMSE@{step + 1}" for step in steps]
    rows, notes = [], []
    for name, errors in {results["model"]: test, **results["baselines"]}.items():
        if "skipped" in errors:
            notes.append(f"{name} left out: {errors['skipped']}")
            continue
        row = [name, _number(errors["global"]["mae"]), _number(errors["global"]["rmse"])]
        if len(steps) > 1:
            row += [_number(errors["per_horizon"][m][step]) for m in ("mae", "rmse") for step in steps]
        rows.append(row)
    return "\n".join([format_table(header, rows), *notes])


def seed_table(results: Mapping[str, Any]) -> str:
    """Compare mean and standard deviation over seeds with the simple forecasts, which have no seed."""
    mean, std = results["mean"], results["std"]
    rows = [[results["model"], *(f"{_number(mean[m])} ± {_number(std[m])}" for m in ("mae", "rmse"))]]
    for name, errors in results["baselines"].items():
        if "skipped" not in errors:
            rows.append([name, *(_number(errors["global"][m]) for m in ("mae", "rmse"))])
    return format_table([f"{len(results['seeds'])} seeds", "MAE", "RMSE"], rows)


def chosen_steps(horizon: int) -> list[int]:
    """Return all steps of a short horizon, evenly spaced ones of a long one.

    >>> chosen_steps(3), chosen_steps(12)
    ([0, 1, 2], [1, 3, 5, 7, 9, 11])
    """
    if horizon <= _MAX_STEPS:
        return list(range(horizon))
    return sorted({math.ceil((i + 1) * horizon / _MAX_STEPS) - 1 for i in range(_MAX_STEPS)})


def format_share(share: float) -> str:
    """Format a share as a percentage.

    >>> format_share(0.5), format_share(0.0001), format_share(0.0)
    ('50 %', '0.01 %', '0 %')
    """
    return f"{100 * share:.3g} %"


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"
