"""Where and with what a run was made: the content of ``environment.json``."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import stgraph

__all__ = ["describe_environment", "peak_memory_mb"]

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


def describe_environment(seed: int) -> dict[str, Any]:
    """Return versions, machine, command line and seed, as plain values.

    >>> describe_environment(seed=1)["seed"]
    1
    """
    cuda = torch.cuda.is_available()
    return {
        "stgraph": stgraph.__version__,
        "git_commit": git_commit(Path(stgraph.__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if cuda else None,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
        "command": shlex.join(sys.argv),
        "folder": str(Path.cwd()),
        "seed": seed,
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


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
