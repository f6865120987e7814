"""Several processes at one training or measurement: torch.distributed, started by torchrun; one process needs nothing.

`torchrun --nproc-per-node 4 -m lib.runs.compute cifar100` starts four processes of the same program. Each calls
`begin`; from then on they share out batches and images, and add up what they found. Before anything that only one
process does, all call `end`, and all but the first leave.
"""

import os
from datetime import timedelta

import torch
from torch import Tensor, distributed


def begin():
    """Join the processes that torchrun started; nothing happens in a process that it did not start."""
    if distributed.is_available() and distributed.is_torchelastic_launched() and not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=timedelta(hours=2))


def end():
    """Leave the group: from here on each process is alone."""
    if size() > 1:
        distributed.barrier()
        distributed.destroy_process_group()


def size() -> int:
    """Number of processes that work together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return distributed.get_rank() if size() > 1 else 0


def wait():
    """Until all processes are here."""
    if size() > 1:
        distributed.barrier()


def add(*tensors: Tensor):
    """Replace each tensor by its sum over all processes, in place."""
    if size() > 1:
        for tensor in tensors:
            distributed.all_reduce(tensor)


def any_of(*flags: bool) -> tuple[bool, ...]:
    """Whether each flag is set in at least one process; the same answer in all."""
    if size() == 1:
        return flags
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    found = torch.tensor(flags, dtype=torch.int32, device=device)
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return tuple(bool(f) for f in found.tolist())


def part(n: int) -> slice:
    """This process's share of n things in a row, of which all processes get as many (or nearly)."""
    size_, rank_ = size(), rank()
    return slice(n * rank_ // size_, n * (rank_ + 1) // size_)
