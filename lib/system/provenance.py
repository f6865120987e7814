"""When, with what and on what a result was made."""

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from lib.system import parallel
from lib.system.device import precision

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "safetensors")
WHERE_USED = ("transformers", "tokenizers")  # by networks of language alone


def provenance(device: str) -> dict:
    """Date, source commit, device (of each process, where there are several) and versions of what computes.

    Packages that only some runs need are listed where this process has imported them. A processor "without bfloat16"
    multiplied in float32, whatever a recipe asked for (`lib.system.device.precision`).

    What cannot be found out is "unknown".
    """
    name = torch.cuda.get_device_name() if device == "cuda" else f"{_cpu()}, {torch.get_num_threads()} threads"
    if precision("bf16", device) != "bf16":
        name += ", without bfloat16"
    if parallel.size() > 1:
        name = f"{parallel.size()} processes, each on {name}"
    packages = [*PACKAGES, *(p for p in WHERE_USED if sys.modules.get(p))]
    return {
        "made": time.strftime("%Y-%m-%d"),
        "commit": commit(ROOT),
        "device": name,
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in packages},
    }


def commit(root: Path) -> str:
    """The commit of the repository whose root is this folder, "-dirty" behind it if files differ; else "unknown"."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(root.parent)  # a repository around it is none of ours
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True)
    except OSError:
        return "unknown"
    return done.stdout.decode("utf-8", "replace").strip() or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine() or "unknown"
