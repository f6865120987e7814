"""What a network costs: parameters, multiplications with additions (MACs) for one image, and how fast it is trained."""

import math

import pandas as pd
import torch
from torch import nn

from lib.encoders import Encoders
from lib.recipes import TrainingRecipe
from lib.sites import Site, at, parse, record
from lib.system import parallel
from lib.system.device import precision
from lib.system.timing import fastest


@torch.no_grad()
def cost(network: Encoders, token_factor: int = 1) -> pd.DataFrame:
    """One row a module that multiplies: module, parameters (biases included), macs. Zero weights count as removed.

    `token_factor` is that of `CCT.forward`. Of attention also the two products of tokens by tokens, as module
    "<attention>.products". Norms, activations and pooling are left out: of CCT-7/3x1 some millions, under 1 %.
    """
    shapes: dict[str, torch.Size] = {}
    modules = {n: m for n, m in network.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and n != "pool"}
    places = {n: Site(n, "output") for n in modules} | {s: network.site(s) for s in at(network.sites, "mha")}
    with record(network, places, lambda n, y: shapes.__setitem__(n, y.shape)):
        network(*network.example(), *([token_factor] if token_factor > 1 else []))
    rows = []
    for name, module in modules.items():
        kept = int((module.weight != 0).sum())
        outputs = shapes[name][2:] if isinstance(module, nn.Conv2d) else shapes[name][1:-1]
        bias = 0 if module.bias is None else module.bias.numel()
        rows.append({"module": name, "parameters": kept + bias, "macs": kept * math.prod(outputs)})
    for site in at(network.sites, "mha"):
        _, tokens, width = shapes[site]
        name = f"encoders.{parse(site).encoder - 1}.attention.products"
        rows.append({"module": name, "parameters": 0, "macs": 2 * tokens**2 * width})
    return pd.DataFrame(rows)


def operations(network: Encoders, recipe: TrainingRecipe | None = None) -> float:
    """Floating-point operations to train on one image: two for each MAC of the forward pass, twice that backward.

    With a recipe the mean over its stages of tokens.
    """
    stages = recipe.token_stages if recipe else ()
    epochs = recipe.epochs if recipe else 1.0
    parts = [*stages, (epochs - sum(e for e, _ in stages), 1)]
    macs = {factor: float(cost(network.eval(), factor)["macs"].sum()) for _, factor in parts}
    return 6.0 * sum(e * macs[factor] for e, factor in parts) / epochs


def matrix_peak(
    device: str | torch.device, precision: str | None = None, size: int | None = None, repeat: int = 5
) -> float:
    """Operations a second of the largest square product of matrices; the fastest of a few repetitions.

    precision: "bf16" or "fp32"; by default bfloat16 on a GPU, float32 on a CPU.
    """
    gpu = torch.device(device).type == "cuda"
    size = size or (8192 if gpu else 1024)
    low = precision == "bf16" if precision else gpu
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16 if low else torch.float32) for _ in range(2))
    return 2.0 * size**3 / fastest(lambda: a @ b, repeat, device)


def training_speed(network: Encoders, recipe: TrainingRecipe, images: int, seconds: float, device: str) -> dict:
    """Precision, images and operations a second of a training, and their share of the device's largest product.

    Nothing in processes other than the first of a group.
    """
    if parallel.rank():
        return {}
    speed, used = images / seconds, precision(recipe.precision, device)
    rate, peak = speed * operations(network, recipe), matrix_peak(device, used) * parallel.size()
    return {
        "precision": used,
        "images_per_second": speed,
        "operations_per_second": rate,
        "share_of_peak": rate / peak,
    }
