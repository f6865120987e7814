"""When, with what and on what a result was made."""

import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import torch

from lib.system import parallel

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "safetensors")


def provenance(device: str) -> dict:
    """Date, source commit, device (of each process, where there are several) and versions of what computes."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    git = subprocess.run(describe, cwd=Path(__file__).parent, capture_output=True, text=True)
    name = torch.cuda.get_device_name() if device == "cuda" else f"{_cpu()}, {torch.get_num_threads()} threads"
    if parallel.size() > 1:
        name = f"{parallel.size()} processes, each on {name}"
    return {
        "made": time.strftime("%Y-%m-%d"),
        "commit": git.stdout.strip() or "unknown",
        "device": name,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
