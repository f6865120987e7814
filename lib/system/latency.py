"""How long networks take, as ratios within one run."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import nn

from lib.system.timing import in_turns


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
        passes = {name: partial(network, images) for name, network in networks.items()}
        medians = {name: 1000 * s for name, s in in_turns(passes, rounds, warm_up=2, device=device).items()}
        first = next(iter(medians.values()))
        rows += [{"network": n, "batch": batch, "milliseconds": ms, "ratio": ms / first} for n, ms in medians.items()]
    return rows
