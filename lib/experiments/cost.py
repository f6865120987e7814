"""What a network costs: parameters, and multiplications with additions (MACs) for one image."""

import math

import pandas as pd
import torch
from torch import nn

from lib.cct import CCT, Attention
from lib.sites import Site, record


@torch.no_grad()
def cost(network: CCT) -> pd.DataFrame:
    """One row a module that multiplies: module, parameters (biases included), macs. Zero weights count as removed.

    Of attention also the two products of tokens by tokens, as module "<attention>.products". Norms, activations and
    pooling add some thousands of operations an image and are left out.
    """
    side = network.config.image_size
    shapes: dict[str, torch.Size] = {}
    modules = {
        n: m for n, m in network.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d, Attention)) and n != "pool"
    }
    device = next(network.parameters()).device
    with record(network, {n: Site(n, "output") for n in modules}, lambda n, y: shapes.__setitem__(n, y.shape)):
        network(torch.zeros(1, 3, side, side, device=device))
    rows = []
    for name, module in modules.items():
        if isinstance(module, Attention):
            _, tokens, width = shapes[name]
            rows.append({"module": f"{name}.products", "parameters": 0, "macs": 2 * tokens**2 * width})
            continue
        kept = int((module.weight != 0).sum())
        outputs = shapes[name][2:] if isinstance(module, nn.Conv2d) else shapes[name][1:-1]
        bias = 0 if module.bias is None else module.bias.numel()
        rows.append({"module": name, "parameters": kept + bias, "macs": kept * math.prod(outputs)})
    return pd.DataFrame(rows)
