"""Where and with what a run was made: the content of ``environment.json``."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

import stgraph

__all__ = ["describe_environment", "fingerprint", "peak_memory_mb"]

_PACKAGES = (
    "torch",
    "torch-geometric",
    "lightning",
    "torchmetrics",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "POT",
    "h5py",
    "torch-cluster",
    "torch-scatter",
    "pyg-lib",
)


def describe_environment(seed: int, series: Data | None = None, test_series: Data | None = None) -> dict[str, Any]:
    """Return versions, machine, command line, seed and the fingerprints of the data, as plain values.

    Args:
        seed: Seed of the run.
        series: The series of the run, with its graph.
        test_series: The test period, where it is a series of its own.

    >>> describe_environment(seed=1)["seed"]
    1
    """
    cuda = torch.cuda.is_available()
    return {
        "stgraph": stgraph.__version__,
        "git_commit": git_commit(Path(stgraph.__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if cuda else None,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
        "command": shlex.join(sys.argv),
        "folder": str(Path.cwd()),
        "seed": seed,
        "data": None if series is None else fingerprint(series),
        "test_data": None if test_series is None else fingerprint(test_series),
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def fingerprint(series: Data) -> dict[str, str]:
    """Return the SHA-256 of each tensor of a series, of its type and shape and all its bits.

    >>> same = fingerprint(Data(x=torch.zeros(2, 3))) == fingerprint(Data(x=torch.zeros(2, 3)))
    >>> other = fingerprint(Data(x=torch.zeros(2, 3))) == fingerprint(Data(x=torch.zeros(3, 2)))
    >>> same, other
    (True, False)
    """
    tensors = {name: value for name, value in series.to_dict().items() if isinstance(value, Tensor)}
    return {name: _digest(value) for name, value in sorted(tensors.items())}


def _digest(tensor: Tensor) -> str:
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _processor() -> str:
    """Name the model of the processor where the system tells; Python itself does not on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def git_commit(folder: Path) -> str | None:
    """Return the commit of the repository that tracks the package in ``folder``, or ``None``."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
        except OSError:  # git is not installed
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # A package that is installed somewhere inside another repository has nothing to do with its commit.
    tracked = git("ls-files", "--error-unmatch", "__init__.py")
    return git("rev-parse", "HEAD") if tracked is not None else None


def peak_memory_mb() -> dict[str, float]:
    """Return the largest memory that the process has held, and that of the CUDA device, in megabytes."""
    peak = {}
    if sys.platform != "win32":
        import resource

        # Linux counts in kilobytes, macOS in bytes.
        unit = 1e6 if sys.platform == "darwin" else 1e3
        peak["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if torch.cuda.is_available():
        peak["cuda"] = torch.cuda.max_memory_allocated() / 1e6
    return peak


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
