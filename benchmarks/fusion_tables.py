"""The tables of the benchmark of image fusion."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import measure
from benchmarks.fusion_methods import METHODS

Records = list[dict[str, Any]]
Means = dict[str, dict[str, float]]  # method, measure
DIGITS = {"psnr": 2, "sam": 2, "ergas": 2, "ssim": 3, "uiqi": 3}
NAMES = {"psnr": "PSNR", "sam": "SAM", "ergas": "ERGAS", "ssim": "SSIM", "uiqi": "UIQI"}
MAIN = ("psnr", "sam")
OURS = "ours"


def case_text(record: dict[str, Any]) -> str:
    """What the seeds of a case have in common."""
    return f"{record['cube']}, ratio {record['ratio']}, {record['psf']}"


def by(records: Records, key: Callable[[dict[str, Any]], str]) -> dict[str, Records]:
    """Records in groups, in the order in which the groups appear first."""
    groups: dict[str, Records] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def by_method(records: Records) -> dict[str, Records]:
    """Records of each method, in the order of the list of methods."""
    groups = by(records, lambda record: record["method"])
    return {name: groups[name] for name in METHODS if name in groups}


def means(records: Records) -> Means:
    """The means of the metrics of each method over the seeds of a case."""
    return {
        name: {key: statistics.mean(_known(found, key)) if _known(found, key) else math.nan for key in NAMES}
        for name, found in by_method(records).items()
    }


def _known(records: Records, key: str) -> list[float]:
    return [record[key] for record in records if record.get(key) is not None]


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def _cost(records: Records) -> list[str]:
    seconds, size = (statistics.median(_known(records, key)) for key in ("seconds", "bytes"))
    return [f"{seconds:.1f}", f"{size / measure.MIB:.0f}"]


def better(key: str, value: float, other: float) -> bool:
    """Whether a value of a metric is better than another one."""
    return value < other if key in ("sam", "ergas") else value > other


def best(key: str, found: Means, names: Sequence[str]) -> str:
    """The method of the best value."""
    choose = min if key in ("sam", "ergas") else max
    return choose(names, key=lambda name: found[name][key])


def others(found: Means) -> list[str]:
    """The methods that are not forms of ours."""
    return [name for name in found if not METHODS[name].own]


def case_table(records: Records) -> str:
    """All methods on one case, mean ± standard deviation over the seeds."""
    rows = [["method", "seeds", *NAMES.values(), "s", "MiB"]]
    for name, found in by_method(records).items():
        values = [_spread(_known(found, key), DIGITS[key]) for key in NAMES]
        rows.append([METHODS[name].label, str(len(found)), *values, *_cost(found)])
    return measure.format_table(rows)


def rival(found: Means, key: str) -> str | None:
    """The best method that is not a form of ours; None where it or ours was not measured."""
    names = [name for name in others(found) if math.isfinite(found[name][key])]
    if OURS not in found or not math.isfinite(found[OURS][key]) or not names:
        return None
    return best(key, found, names)


def lead(found: Means, key: str) -> str:
    """Whether ours has the best value of a metric among all that are not forms of it."""
    peer = rival(found, key)
    if peer is None:
        return f"leads on {NAMES[key]}: not measured"
    leads = "leads" if better(key, found[OURS][key], found[peer][key]) else "does not lead"
    return f"{leads} on {NAMES[key]}: {_versus(found, peer, key)}"


def _versus(found: Means, peer: str, key: str) -> str:
    digits = DIGITS[key]
    other = f"{METHODS[peer].label} {found[peer][key]:.{digits}f}"
    return f"ours {found[OURS][key]:.{digits}f}, best other: {other}"


def case_section(records: Records) -> str:
    """The table of a case and whether ours leads."""
    found = means(records)
    own = [name for name in found if METHODS[name].own]
    also = ""
    if OURS in found and best("psnr", found, own) != OURS:
        form = best("psnr", found, own)
        also = f"; best form of ours: {METHODS[form].label} {found[form]['psnr']:.2f}"
    lines = [case_text(records[0]), case_table(records), lead(found, "psnr") + also, lead(found, "sam")]
    lost = (key for key in NAMES if key not in MAIN and lead(found, key).startswith("does not lead"))
    return "\n".join([*lines, *(lead(found, key) for key in lost)]) + "\n"


def summary(records: Records) -> str:
    """Means over the cases, in how many a method leads, and where ours does not."""
    cases = {name: means(found) for name, found in by(records, case_text).items()}
    rows = [["method", "cases", *NAMES.values(), "s", "MiB"]]
    rows[0] += ["leads PSNR", "leads SAM", "ours better PSNR", "ours better SAM"]
    for name, found in by_method(records).items():
        with_it = [each for each in cases.values() if name in each]
        values = [[each[name][key] for each in with_it if math.isfinite(each[name][key])] for key in NAMES]
        cells = [
            f"{statistics.mean(value):.{DIGITS[key]}f}" if value else ""
            for key, value in zip(NAMES, values, strict=True)
        ]
        counts = [_leads(name, with_it, key) for key in MAIN] + [_ours_better(name, with_it, key) for key in MAIN]
        rows.append([METHODS[name].label, str(len(with_it)), *cells, *_cost(found), *counts])
    return "\n".join([measure.format_table(rows), *(_where(cases, key) for key in NAMES)])


def _leads(name: str, cases: Sequence[Means], key: str) -> str:
    """In how many cases a method leads, where of our forms only the default takes part."""
    if METHODS[name].own and name != OURS:
        return ""
    took_part = (each for each in cases if OURS in each)
    return str(sum(best(key, each, [*others(each), OURS]) == name for each in took_part))


def _ours_better(name: str, cases: Sequence[Means], key: str) -> str:
    both = [each for each in cases if OURS in each]
    if name == OURS or not both:
        return ""
    return f"{sum(better(key, each[OURS][key], each[name][key]) for each in both)} of {len(both)}"


def _where(cases: dict[str, Means], key: str) -> str:
    """Where ours does not lead."""
    measured = {name: found for name, found in cases.items() if rival(found, key) is not None}
    if not measured:
        return f"leads on {NAMES[key]}: not measured"
    lost = []
    for name, found in measured.items():
        peer = rival(found, key)
        if peer is not None and not better(key, found[OURS][key], found[peer][key]):
            lost.append(f"{name} ({_versus(found, peer, key)})")
    text = f"ours leads on {NAMES[key]} in {len(measured) - len(lost)} of {len(measured)} cases"
    return f"{text}; it does not lead on {'; '.join(lost)}" if lost else text


def uncertainty_table(records: Records) -> str:
    """How well the expected errors of pixels agree with the true ones, beside one number for all pixels."""
    rows = [["case", "seeds", "rank correlation", "expected / true", "misfit", "constant / true", "constant misfit"]]
    for name, found in by(records, case_text).items():
        keys = ("rank_correlation", "ratio", "misfit", "constant_ratio", "constant_misfit")
        values = [_spread([record["uncertainty"][key] for record in found], 2) for key in keys]
        rows.append([name, str(len(found)), *values])
    return measure.format_table(rows)
