"""A small convolutional network, for the question whether its filters do what the nodes of a transformer do.

Plain blocks as in VGG (arXiv:1409.1556), with batch normalisation: nothing in it attends, and no path leads around a
layer. Pooling comes before normalising, which leaves a quarter of the values to normalise.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from lib.data import ImageSet, batches
from lib.recipes import CNNRecipe
from lib.sites import Site, channels_first


class Block(nn.Sequential):
    """conv 3x3, perhaps max-pool 2, batch normalisation, ReLU: (B, C, H, W) -> (B, filters, H or H/2, W or W/2)."""

    def __init__(self, channels: int, filters: int, pool: bool):
        layers = [nn.Conv2d(channels, filters, 3, padding=1, bias=False)]
        layers += [nn.MaxPool2d(2)] * pool
        super().__init__(*layers, nn.BatchNorm2d(filters), nn.ReLU())


class CNN(nn.Module):
    """Blocks, the mean over positions, a linear layer: images (B, 3, H, W), normalised -> logits (B, K).

    widths: filters of each block; pools: which blocks halve the side.
    """

    def __init__(
        self,
        classes: int,
        widths: tuple[int, ...] = CNNRecipe.widths,
        pools: tuple[bool, ...] = CNNRecipe.pools,
    ):
        super().__init__()
        if len(widths) != len(pools):
            raise ValueError(f"each block needs a width and whether it pools, got {len(widths)} and {len(pools)}")
        sizes = zip(pairwise((3, *widths)), pools, strict=True)
        self.blocks = nn.Sequential(*(Block(a, b, pool) for (a, b), pool in sizes))
        self.classifier = nn.Linear(widths[-1], classes)

    @property
    def sites(self) -> dict[str, Site]:
        """The output of each block, "1.filters" to the last, as `lib.adapt` takes them."""
        return {f"{i + 1}.filters": Site(f"blocks.{i}", "output", channels_first) for i in range(len(self.blocks))}

    def width(self, site: str) -> int:
        """Number of filters of a block."""
        return self.blocks[list(self.sites).index(site)][0].out_channels

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.blocks(images).mean((2, 3)))


@torch.no_grad()
def with_batch_statistics(network: nn.Module, images: ImageSet) -> nn.Module:
    """The network, in evaluation mode, after its batch normalisations have seen some images; no weight changes.

    In an untrained network they would otherwise scale by nothing, and activations would fade with depth.
    """
    network.train()
    for batch in batches(images, size=25):
        network(*batch.given)
    return network.eval()
