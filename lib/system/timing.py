"""Time that work takes on a device, which is waited for."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import nn

Work = Callable[[], object]


def once(work: Work, device: str | torch.device = "cpu") -> float:
    """Seconds of one call."""
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


def fastest(work: Work, repeat: int = 3, device: str | torch.device = "cpu") -> float:
    """Seconds of the fastest of a few calls, after one to warm up."""
    work()
    return min(once(work, device) for _ in range(repeat))


def in_turns(
    works: Mapping[str, Work], rounds: int, warm_up: int = 1, device: str | torch.device = "cpu", rest: float = 0.0
) -> dict[str, float]:
    """Median seconds of each work; they take turns, so that a change of the machine hits all alike.

    rest: seconds before each call, for what the call before it left to do in the background.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warm_up + rounds):
        for name, work in works.items():
            time.sleep(rest)
            taken = once(work, device)
            if turn >= warm_up:
                times[name].append(taken)
    return {name: statistics.median(t) for name, t in times.items()}


@torch.inference_mode()
def latency(networks: Mapping[str, nn.Module], batches: Sequence[int] = (1, 256), rounds: int = 15) -> list[dict]:
    """Median milliseconds of a forward pass of each network on what the first one's `example` gives.

    Returns one row a network and batch: network, batch, milliseconds, ratio (to the first network).
    """
    rows = []
    first_network = next(iter(networks.values()))
    device = next(first_network.parameters()).device
    for batch in batches:
        given = first_network.example(batch)
        passes = {name: partial(network, *given) for name, network in networks.items()}
        medians = {name: 1000 * s for name, s in in_turns(passes, rounds, warm_up=2, device=device).items()}
        first = next(iter(medians.values()))
        rows += [{"network": n, "batch": batch, "milliseconds": ms, "ratio": ms / first} for n, ms in medians.items()]
    return rows


def synchronise(device: str | torch.device):
    """Wait until the device has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
