"""What ``stgraph anomaly`` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stgraph.cli.tables import format_table

if TYPE_CHECKING:
    from stgraph.tasks.anomaly_detection import FoundAnomalies

__all__ = ["anomaly_summary", "detection_table", "highest_scores"]

_REGIONS = 3  # in a row of the table
_DAY = 86_400_000_000_000  # nanoseconds


def detection_table(scores: Mapping[str, Any]) -> str:
    """Table of precision, recall and the like against labels.

    >>> print(detection_table({"precision": 0.5, "f1": None}))
                value
    precision     0.5
    f1              -
    """
    rows = [[name, _number(value)] for name, value in scores.items() if not isinstance(value, Mapping | list | tuple)]
    return format_table(["", "value"], rows)


def _number(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return str(value) if isinstance(value, int | str) else f"{float(value):.4g}"


def anomaly_summary(results: dict[str, Any]) -> str:
    """Say in some lines what a run found."""
    what = "spectra" if results["kind"] == "spectra" else "nodes"
    lines = [f"{results['anomalous']} of {results['judged']} {what} are anomalous"]
    if results["no_data"]:
        lines[0] += f"; {results['no_data']} have no data"
    if results["calibration"]:
        lines.append(f"{results['calibration']} {'spectra' if what == 'spectra' else 'steps'} calibrate")
    if results["detection"] is not None:
        lines += ["", "Against the labels of the data", "", detection_table(results["detection"])]
    return "\n".join(lines)


def highest_scores(judged: FoundAnomalies, rows: int) -> str:
    """Return a table of the spectra or nodes with the highest scores, with their regions."""
    from stgraph.tasks.anomaly_detection import region_places

    found = judged.found
    order = found.score.nan_to_num(-float("inf")).argsort(descending=True, stable=True).tolist()
    spectra = judged.data.get("wavelength") is not None
    header = ["", "score", *(["p-value"] if found.p_value is not None else []), "anomalous"]
    header.append("regions (observed angstrom)" if spectra else "regions")
    lines = []
    cut = len("T00:00") if _in_days(judged.data.get("time")) else 0
    for row in [i for i in order if not bool(found.score[i].isnan())][:rows]:
        places = [" to ".join(place[: len(place) - cut] for place in span) for span in region_places(judged, row)]
        shown = ", ".join(places[:_REGIONS]) + (f" and {len(places) - _REGIONS} more" if len(places) > _REGIONS else "")
        p_value = [] if found.p_value is None else [f"{float(found.p_value[row]):.3g}"]
        flag = "yes" if bool(found.anomalous[row]) else "no"
        lines.append([judged.names[row], f"{float(found.score[row]):.4g}", *p_value, flag, shown or "-"])
    width = max(len(line[-1]) for line in [header, *lines])
    header, *lines = ([*line[:-1], line[-1].ljust(width)] for line in [header, *lines])  # to the left, as text is read
    table = format_table(header, lines)
    flagged, without = int(found.anomalous.sum()), int(found.no_data.sum())
    few = int((found.score.isnan() & ~found.no_data).sum())
    summary = f"{flagged} of {len(judged.names)} are anomalous" + (f"; {without} have no data" if without else "")
    summary += f"; {few} have too little data" if few else ""
    return f"{summary}\n\n{table}"


def _in_days(time: Any) -> bool:
    """Whether all times of a calendar are at midnight."""
    return time is not None and not time.is_floating_point() and not bool((time % _DAY).any())
