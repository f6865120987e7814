"""The training step against the same recipe built the usual way, and against the step alone, in turns of one process.

The usual way: torchvision's transforms, image by image, in the workers of a `DataLoader`; MixUp and CutMix where the
batch is put together; and vit-pytorch's CCT. It differs from ours in its block (pre-norm throughout, which costs one
LayerNorm an encoder less) and in having no lists of who draws what: its costs are comparable, its results are not.
"""

import dataclasses
import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from lib import cct, runs
from lib.data import ImageSet
from lib.data.augment.mixing import Targets
from lib.data.images import noise
from lib.experiments.cost import matrix_peak, operations
from lib.recipes import REFERENCE, TrainingRecipe
from lib.system.device import keep_memory, precision
from lib.system.timing import in_turns
from lib.system.vision import torchvision
from lib.training.batches import TrainingBatches
from lib.training.step import TrainingStep, adamw


def ours(
    network: cct.CCT, recipe: TrainingRecipe, images: ImageSet, compiled: bool, token_factor: int = 1
) -> Callable[[int], None]:
    """A function that trains for some steps, images augmented."""
    device = next(network.parameters()).device
    learn = TrainingStep(network.train(), recipe, compiled)
    feed = TrainingBatches(images, recipe.augmentation, recipe.batch, 0, device)
    position = 0

    def run(steps: int):
        nonlocal position
        for batch in feed.steps(position, position + steps):
            learn(batch.inputs, batch.labels, 1e-4, token_factor)
        position += steps

    return run


def alone(network: cct.CCT, recipe: TrainingRecipe, compiled: bool) -> Callable[[int], None]:
    """The same step on one batch of noise that is there already."""
    device = next(network.parameters()).device
    learn = TrainingStep(network.train(), recipe, compiled)
    side = network.config.image_size
    x = torch.randn(recipe.batch, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(recipe.batch, device=device) % network.config.classes
    targets = Targets(labels, labels.flip(0), torch.full((recipe.batch,), 0.5, device=device))

    def run(steps: int):
        for _ in range(steps):
            learn(x, targets, 1e-4)

    return run


class Images(torch.utils.data.Dataset):
    """An image set as a `DataLoader` takes it: Pillow images through a transform, one by one."""

    def __init__(self, images: ImageSet, transform: Callable):
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int):
        from PIL import Image

        return self.transform(Image.fromarray(self.images.images[i])), int(self.images.labels[i])


class Collate:
    """Puts a batch together and mixes it."""

    def __init__(self, classes: int, recipe: TrainingRecipe):
        v2 = importlib.import_module(f"{torchvision.__name__}.transforms.v2")
        policy = recipe.augmentation
        self.mix = v2.RandomChoice(
            [v2.MixUp(alpha=policy.mixup, num_classes=classes), v2.CutMix(alpha=policy.cutmix, num_classes=classes)]
        )

    def __call__(self, batch: list):
        return self.mix(*torch.utils.data.default_collate(batch))


def usual(
    config: cct.Config, recipe: TrainingRecipe, images: ImageSet, device: str | torch.device
) -> Callable[[int], None]:
    """A function that trains vit-pytorch's CCT for some steps on what torchvision's transforms make of the images."""
    v2 = importlib.import_module(f"{torchvision.__name__}.transforms.v2")
    policy, side = recipe.augmentation, config.image_size
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(side, scale=(policy.crop_scale, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandAugment(policy.operations, int(policy.magnitude)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(images.mean, images.std),
            v2.RandomErasing(policy.erase, value="random"),
        ]
    )
    loader = torch.utils.data.DataLoader(
        Images(images, transform), recipe.batch, shuffle=True, drop_last=True, num_workers=len(os.sched_getaffinity(0)),
        collate_fn=Collate(config.classes, recipe), persistent_workers=True, pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    network = peer(config).to(device).train()
    optimiser = adamw(list(network.parameters()), recipe)
    gpu = torch.device(device).type == "cuda"

    def forever() -> Iterator:
        while True:
            yield from loader

    stream = forever()

    def run(steps: int):
        for _ in range(steps):
            x, y = (t.to(device, non_blocking=True) for t in next(stream))
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=gpu):
                logits = network(x)
            loss = F.cross_entropy(logits.float(), y, label_smoothing=recipe.label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return run


def peer(config: cct.Config) -> nn.Module:
    """vit-pytorch's CCT of the same shape."""
    module = importlib.import_module("vit_pytorch.cct")
    network = module.CCT(
        img_size=config.image_size, embedding_dim=config.width, n_conv_layers=len(config.stem_widths),
        kernel_size=config.kernel, stride=config.stride, padding=config.padding, num_layers=config.depth,
        num_heads=config.heads, mlp_ratio=config.ff_width / config.width, num_classes=config.classes,
        positional_embedding="learnable", attention_dropout=config.attention_dropout,
        stochastic_depth_rate=config.drop_path,
    )  # fmt: skip
    convolutions = [layer[0] for layer in network.tokenizer.conv_layers]
    if len(convolutions) == 2 and convolutions[0].out_channels != config.stem_widths[0]:
        network.tokenizer = module.Tokenizer(
            config.kernel, config.stride, config.padding, pooling_kernel_size=3, pooling_stride=2, pooling_padding=1,
            n_conv_layers=2, in_planes=config.stem_widths[0], n_output_channels=config.width, activation=nn.ReLU,
        )  # fmt: skip
    return network


def compare(
    config: cct.Config, recipe: TrainingRecipe, device: str | torch.device, steps: int, rounds: int = 5
) -> dict:
    """Median images a second of each way, in turns; with the operations a second of ours and the device's peak."""
    images = noise("random", "train", max(4 * recipe.batch, 2000), config.classes, config.image_size)
    ways = {"usual": usual(config, recipe, images, device)}
    for compiled in (False, True) if torch.device(device).type == "cuda" else (False,):
        suffix = ", compiled" * compiled
        ways[f"ours{suffix}"] = ours(cct.CCT(config).to(device), recipe, images, compiled)
        ways[f"step alone{suffix}"] = alone(cct.CCT(config).to(device), recipe, compiled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        works = {name: partial(run, steps) for name, run in ways.items()}
        medians = in_turns(works, rounds, device=device, rest=1)  # the loader's workers still prepare batches ahead
    found = {name: steps * recipe.batch / seconds for name, seconds in medians.items()}
    rate = operations(cct.CCT(config)) * max(v for k, v in found.items() if k.startswith("ours"))
    return {"images_per_second": found, "operations_per_second": rate, "peak": matrix_peak(device)}


def staged(name: str, rounds: int = 2) -> str:
    """Training of a run's network on this CPU, with all tokens and with fewer, against the usual way, in words."""
    definition = runs.defined(name)
    config, recipe = definition.network, definition.training
    batch, recipe = recipe.batch, dataclasses.replace(recipe, augmentation=REFERENCE.augmentation)
    images = noise("random", "train", 2000, config.classes, config.image_size)
    used = precision(recipe.precision, "cpu")
    ways = {f"the usual way, fp32, {config.grid**2} tokens": usual(config, recipe, images, "cpu")}
    for factor in dict.fromkeys([1] + [f for _, f in reversed(recipe.token_stages)]):
        way = f"ours, {used}, {(config.grid // factor) ** 2} tokens"
        ways[way] = ours(cct.CCT(config), recipe, images, False, factor)
    keep_memory()
    medians = in_turns({name: partial(run, 1) for name, run in ways.items()}, rounds, rest=1)
    speed = {name: batch / seconds for name, seconds in medians.items()}
    first, full = list(speed.values())[:2]
    lines = [f"training of {name}'s network on this CPU, batch {batch}, the reference's augmentation; images/s"]
    lines += [f"  {way:<36}{rate:9.1f}{rate / first:9.1f} x" for way, rate in speed.items()]
    pays = "does" if precision("bf16", "cpu") == "bf16" else "does not"
    lines.append(f"  with all tokens {full / first:.1f} x (goal where bfloat16 pays, which here it {pays}: at least 4)")
    return "\n".join(lines)


def report(name: str, steps: int, device: str | torch.device) -> str:
    """`compare` in words, for the network and batch of a run and the reference's augmentation."""
    definition = runs.defined(name)
    recipe = dataclasses.replace(definition.training, augmentation=REFERENCE.augmentation)
    found = compare(definition.network, recipe, device, steps)
    speed = found["images_per_second"]
    goal = "5" if torch.device(device).type == "cuda" else "1.2"
    lines = [f"training of {name} on {device}, batch {recipe.batch}, with the reference's augmentation; images/s"]
    lines += [f"  {way:<22}{rate:9.0f}" for way, rate in speed.items()]
    suffix = ", compiled" if "ours, compiled" in speed else ""
    share = speed[f"ours{suffix}"] / speed[f"step alone{suffix}"]
    lines.append(f"  of the step alone: {share:.1%} (goal: at least 95 %)")
    lines.append(f"  against the usual way: {speed[f'ours{suffix}'] / speed['usual']:.2f} (goal: at least {goal})")
    rate, peak = found["operations_per_second"], found["peak"]
    lines.append(f"  {rate / 1e12:.3f} TFLOP/s, {rate / peak:.1%} of the largest product's {peak / 1e12:.2f}")
    return "\n".join(lines)
