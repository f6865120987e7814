"""What a computation needs of its machine: tensors on the device, memory that is kept, seeds, a bar that shows it."""

import contextlib
import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from tqdm.auto import tqdm

from lib.system.timing import in_turns

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8  # of malloc.h


def default() -> str:
    """A GPU where torch finds one; of several, `parallel.begin` chose this process's."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_of(network: nn.Module) -> torch.device:
    """Where a network's tensors are; the CPU if it has none."""
    return next((t.device for t in chain(network.parameters(), network.buffers())), torch.device("cpu"))


def send(tensor: Tensor, device: str | torch.device) -> Tensor:
    """The tensor on the device; the copy takes its turn behind the device's other work."""
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def constant(values: Sequence[float], device: str | torch.device) -> Tensor:
    """A float32 vector made on the device, where `torch.tensor` would make it here and copy it."""
    return torch.stack([torch.full((), float(v), device=device) for v in values])


def precision(asked: str, device: str | torch.device) -> str:
    """In which precision a device multiplies matrices, "bf16" or "fp32", asked for one of them or "auto".

    auto: bfloat16 on a GPU, float32 on a CPU. A CPU that gains nothing by bfloat16 multiplies in float32 in any case:
    without units for it, it would take up to hundreds of times as long.
    """
    gpu = torch.device(device).type == "cuda"
    if asked == "auto":
        asked = "bf16" if gpu else "fp32"
    return "fp32" if asked == "bf16" and not gpu and not _bfloat16_pays() else asked


def products(asked: str, device: str | torch.device) -> torch.autocast:
    """A context in which matrices are multiplied in `precision(asked, device)`, by weights as they are just then."""
    low = precision(asked, device) == "bf16"
    # autocast would go on with its first copy of a weight, also where a head or a node has been removed since
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=low, cache_enabled=False)


def muon_products(device: str | torch.device) -> contextlib.AbstractContextManager:
    """A context for a step of `torch.optim.Muon`, which orthogonalises in bfloat16 whatever is asked for: float32 on a
    CPU that gains nothing by it, where that alone can take several times as long as the forward and backward pass."""
    slow = torch.device(device).type == "cpu" and not _bfloat16_pays()
    return _Float32ForBfloat16() if slow else contextlib.nullcontext()


class _Float32ForBfloat16(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.bfloat16:
            return args[0].to(torch.float32, copy=True)
        return function(*args, **(kwargs or {}))


@cache
def _bfloat16_pays() -> bool:
    """Whether this CPU multiplies matrices faster in bfloat16: tried, since torch also calls it supported where it is
    emulated, and some units for it are slower than those for float32."""
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    kinds = {dtype: torch.ones(512, 512, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    taken = in_turns({dtype: lambda x=x: x @ x for dtype, x in kinds.items()}, rounds=5)
    return taken[torch.bfloat16] < taken[torch.float32]


@cache
def keep_memory():
    """Let glibc reuse large blocks that are freed; nothing where there is no glibc.

    By default a large tensor is fetched from the system page by page and given back as soon as it is dropped, which
    takes a fifth to a third of a training step of CCT-7/3x1 on a CPU.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for option, value in ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 2**26)):
        mallopt(option, value)


def seed_for(*numbers: int) -> int:
    """An independent 63-bit seed for each tuple of numbers, of which the last must not be 0 if there are several."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def bar(total: int, description: str, done: int = 0) -> tqdm:
    """A progress bar for `total` steps, `done` before: on a terminal and in a notebook; logs and files get none."""
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=total, initial=done, desc=description, unit="step", mininterval=1, disable=not watched)
