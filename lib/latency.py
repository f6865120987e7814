"""How long networks take, as ratios within one run: they take turns, so that a change of the machine hits all alike."""

import statistics
import time
from collections.abc import Mapping, Sequence

import torch
from torch import nn


@torch.inference_mode()
def latency(
    networks: Mapping[str, nn.Module], size: int, batches: Sequence[int] = (1, 256), rounds: int = 15
) -> list[dict]:
    """Median milliseconds of a forward pass of each network on random images (batch, 3, size, size).

    Returns one row a network and batch: network, batch, milliseconds, ratio (to the first network).
    """
    rows = []
    device = next(iter(networks.values())).position.device
    for batch in batches:
        images = torch.randn(batch, 3, size, size, device=device)
        times: dict[str, list[float]] = {name: [] for name in networks}
        for turn in range(rounds + 2):
            for name, network in networks.items():
                started = time.perf_counter()
                network(images)
                if images.is_cuda:
                    torch.cuda.synchronize()
                if turn >= 2:  # the first two turns warm up
                    times[name].append(1000 * (time.perf_counter() - started))
        medians = {name: statistics.median(t) for name, t in times.items()}
        first = next(iter(medians.values()))
        rows += [{"network": n, "batch": batch, "milliseconds": ms, "ratio": ms / first} for n, ms in medians.items()]
    return rows
