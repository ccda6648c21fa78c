"""How the benchmarks measure: time in turns, memory in fresh processes, and a table of ratios.

A script describes its alternatives as factories, module-level functions that set everything up and return one callable
step. Time is measured in one process with the alternatives in turns (A, B, A, B, ...), so that a busy machine slows
all of them. Peak memory is measured in a fresh process for each alternative, as the growth of the resident set over
what is there after set-up.

    report = Report("mgat", threads=2)
    steps = {"MGAT": mgat(**sizes), "TransformerConv": transformer_conv(**sizes)}
    seconds = time_in_turns(steps)
    peak = {name: peak_memory(__file__, factory, sizes, threads=2) for name, factory in FACTORIES.items()}
    report.compare("N 207", "MGAT", "TransformerConv", seconds, peak, faster=8, memory=1 / 3)
    report.finish()
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
MIB = 2**20
PEAK_MARK = "peak-bytes:"
NUMBER = re.compile(r"(<= |>= )?[-+.e0-9]+x?")

Step = Callable[[], object]


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """The flags that every benchmark script has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="threads torch may use")
    parser.add_argument("--repeats", type=int, default=7, help="timed repeats of each alternative")
    parser.add_argument("--warmup", type=int, default=2, help="untimed repeats before")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON and text results")
    return parser


def machine(threads: int) -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "blas": "MKL" if torch.backends.mkl.is_available() else "other",
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def time_in_turns(alternatives: Mapping[str, Step], repeats: int = 7, warmup: int = 2) -> dict[str, list[float]]:
    """Seconds of each repeat of each alternative, measured A, B, A, B, ... in this process."""
    for _ in range(warmup):
        for step in alternatives.values():
            step()
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(repeats):
        for name, step in alternatives.items():
            gc.collect()
            gc.disable()
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
            gc.enable()
    return seconds


def matmul_rate(m: int, k: int, n: int, batch: int = 1, repeats: int = 7) -> float:
    """Measured GFLOP/s of ``batch`` float32 products ``(m, k) @ (k, n)`` with the current number of threads."""
    a, b = torch.rand(batch, m, k), torch.rand(batch, k, n)
    out = torch.empty(batch, m, n)
    seconds = time_in_turns({"matmul": lambda: torch.bmm(a, b, out=out)}, repeats=repeats, warmup=3)["matmul"]
    return 2e-9 * batch * m * k * n / statistics.median(seconds)


def peak_memory(
    script: str | Path, factory: str, arguments: Mapping[str, object], threads: int, repeats: int = 2
) -> int:
    """Bytes by which the resident set grows at its peak while an alternative runs in a fresh process.

    The child imports ``script``, calls its function ``factory`` with the (JSON-able) ``arguments``, and only then
    starts to measure the callable that the function returned. In the child the allocator gives every large block back
    to the system at once (``MALLOC_MMAP_THRESHOLD_``), so that the resident set follows what is really held.
    """
    environment = dict(os.environ, MALLOC_MMAP_THRESHOLD_="65536", OMP_NUM_THREADS=str(threads))
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    task = json.dumps(
        {
            "script": str(script),
            "factory": factory,
            "arguments": dict(arguments),
            "threads": threads,
            "repeats": repeats,
        }
    )
    child = subprocess.run(
        [sys.executable, __file__, task], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    peaks = [line for line in child.stdout.splitlines() if line.startswith(PEAK_MARK)]
    if child.returncode != 0 or not peaks:
        raise RuntimeError(f"measuring the memory of {factory} failed with code {child.returncode}:\n{child.stderr}")
    return int(peaks[-1].removeprefix(PEAK_MARK))


def _measure_peak(task: dict[str, Any]) -> int:
    """The child's side of :func:`peak_memory`."""
    torch.set_num_threads(task["threads"])
    warm = torch.rand(256, 256, requires_grad=True)
    (warm @ warm).sum().backward()  # thread pools and library buffers exist before the baseline is taken
    specification = importlib.util.spec_from_file_location("benchmark_script", task["script"])
    if specification is None or specification.loader is None:
        raise ImportError(f"cannot import {task['script']}")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    step: Step = getattr(module, task["factory"])(**task["arguments"])
    gc.collect()
    baseline = _restart_peak()
    for _ in range(task["repeats"]):
        step()
    growth = _peak_resident() - baseline
    if growth <= 0:
        raise RuntimeError("the resident set did not grow: the step needs less than its set-up did, or next to nothing")
    return growth


def _restart_peak() -> int:
    """Make the kernel's peak start from what is resident now, and return that many bytes.

    Where the kernel cannot restart it, the peak since the start of the process is the baseline instead.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _ru_maxrss_unit()
    return _status_bytes("VmRSS")


def _peak_resident() -> int:
    if Path("/proc/self/status").exists():
        return _status_bytes("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _ru_maxrss_unit()


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def _ru_maxrss_unit() -> int:
    return 1 if sys.platform == "darwin" else 1024


def check_equal(name: str, ours: torch.Tensor, peer: torch.Tensor, tolerance: float) -> float:
    """Largest difference relative to the peer's largest value; raises where it exceeds ``tolerance``."""
    if ours.shape != peer.shape:
        raise AssertionError(f"{name}: shape {tuple(ours.shape)} differs from {tuple(peer.shape)}")
    with torch.no_grad():
        error = float((ours - peer).abs().max() / peer.abs().max().clamp(min=1e-30))
    if not error <= tolerance:
        raise AssertionError(f"{name}: results differ by {error:.2e} (relative), more than {tolerance:.0e}")
    print(f"{name}: equal results, largest relative difference {error:.1e}")
    return error


class Report:
    """Collects comparisons, prints them as a table and writes ``<name>.json`` and ``<name>.txt``."""

    def __init__(self, name: str, threads: int, results: Path = RESULTS) -> None:
        self.name = name
        self.results = results
        torch.set_num_threads(threads)
        self.machine = machine(torch.get_num_threads())
        self.rows: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.records: list[dict[str, Any]] = []  # what a script measures beyond comparisons of two, for the JSON
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in self.machine.items()), flush=True)

    def compare(
        self,
        case: str,
        ours: str,
        peer: str,
        seconds: Mapping[str, Sequence[float]],
        peak: Mapping[str, int] | None = None,
        *,
        faster: float | None = None,
        memory: float | None = None,
    ) -> None:
        """Add one comparison.

        Args:
            case: What was run, such as the sizes.
            ours: Name of our alternative in ``seconds`` and ``peak``.
            peer: Name of the alternative to compare with.
            seconds: Seconds of each repeat of each alternative.
            peak: Peak bytes of each alternative.
            faster: Target: how many times faster ours should be at least.
            memory: Target: the share of the peer's peak memory that ours should need at most.

        """
        row: dict[str, Any] = {"case": case, "ours": ours, "peer": peer}
        row["ours_seconds"] = statistics.median(seconds[ours])
        row["peer_seconds"] = statistics.median(seconds[peer])
        row["times_faster"] = row["peer_seconds"] / row["ours_seconds"]
        row["target_faster"] = faster
        row["all_seconds"] = {ours: list(seconds[ours]), peer: list(seconds[peer])}
        if peak is not None:
            row["ours_bytes"], row["peer_bytes"] = peak[ours], peak[peer]
            row["memory_share"] = peak[ours] / peak[peer]
            row["target_memory"] = memory
        self.rows.append(row)

    def note(self, text: str) -> None:
        """Print a line and keep it with the results."""
        print(text, flush=True)
        self.notes.append(text)

    def finish(self) -> bool:
        """Print and write everything; True where every target was reached."""
        text = self._table()
        print("\n" + text, flush=True)
        self.results.mkdir(parents=True, exist_ok=True)
        head = "\n".join(f"{key}: {value}" for key, value in self.machine.items())
        lines = [f"{self.name}\n\n{head}", *([text] if text else []), *(["\n".join(self.notes)] if self.notes else [])]
        (self.results / f"{self.name}.txt").write_text("\n\n".join(lines) + "\n")
        document = {"name": self.name, "machine": self.machine, "rows": self.rows, "notes": self.notes}
        if self.records:
            document["records"] = self.records
        (self.results / f"{self.name}.json").write_text(json.dumps(document, indent=2) + "\n")
        return all(_reached(row) is not False for row in self.rows)

    def _table(self) -> str:
        header = [
            "case",
            "ours",
            "peer",
            "ours s",
            "peer s",
            "faster",
            "target",
            "ours MiB",
            "peer MiB",
            "share",
            "target",
            "",
        ]
        return format_table([header, *(_cells(row) for row in self.rows)])


def _cells(row: Mapping[str, Any]) -> list[str]:
    def show(key: str, pattern: str, factor: float = 1.0) -> str:
        value = row.get(key)
        return "" if value is None else format(value * factor, pattern)

    reached = _reached(row)
    return [
        row["case"],
        row["ours"],
        row["peer"],
        show("ours_seconds", ".4g"),
        show("peer_seconds", ".4g"),
        show("times_faster", ".2f") + "x",
        ">= " + show("target_faster", "g") if row.get("target_faster") is not None else "",
        show("ours_bytes", ".1f", 1 / MIB),
        show("peer_bytes", ".1f", 1 / MIB),
        show("memory_share", ".3f"),
        "<= " + show("target_memory", ".3f") if row.get("target_memory") is not None else "",
        "" if reached is None else ("reached" if reached else "MISSED"),
    ]


def _reached(row: Mapping[str, Any]) -> bool | None:
    """Whether the row's targets were reached; None where it has none."""
    faster, memory = row.get("target_faster"), row.get("target_memory")
    if faster is None and memory is None:
        return None
    fast_enough = faster is None or row["times_faster"] >= faster
    return fast_enough and (memory is None or row["memory_share"] <= memory)


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Plain text columns under a header row; columns that hold numbers are right-aligned, empty ones left out."""
    used = [j for j in range(len(rows[0])) if any(row[j] for row in rows[1:])]
    if not used:
        return ""
    widths = {j: max(len(row[j]) for row in rows) for j in used}
    numeric = {j: all(not row[j] or NUMBER.fullmatch(row[j]) for row in rows[1:]) for j in used}

    def line(row: Sequence[str]) -> str:
        cells = (row[j].rjust(widths[j]) if numeric[j] else row[j].ljust(widths[j]) for j in used)
        return "  ".join(cells).rstrip()

    rule = "  ".join("-" * widths[j] for j in used)
    return "\n".join([line(rows[0]), rule, *(line(row) for row in rows[1:])])


if __name__ == "__main__":
    print(f"{PEAK_MARK}{_measure_peak(json.loads(sys.argv[1]))}")
