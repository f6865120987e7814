"""The compact convolutional transformer (CCT) and the sites at which its nodes are measured.

Architecture: Hassani et al., "Escaping the Big Data Paradigm with Compact Transformers" (arXiv:2104.05704) and its
reference implementation, SHI-Labs/Compact-Transformers. One encoder is not a plain pre-norm block; in the reference

    x = x + drop_path(attention(pre_norm(x)))
    x = norm1(x)                                  # LayerNorm on the residual stream itself
    x = x + drop_path(linear2(gelu(linear1(x))))

Shapes use B images, T tokens, N nodes (the width of a site), H heads, K labels.
"""

import math
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lib import encoders
from lib.data import ImageSet, images
from lib.encoders import Encoders, attention_weights
from lib.sites import Site, record
from lib.system.checked import Part, checked

PLACES = {  # place in an encoder -> (module, which side of it)
    "mha": ("attention.projection", "input"),  # concatenated head outputs, before the output projection
    "ff_in": ("norm1", "output"),  # the residual stream that feeds the feed-forward sub-block
    "ff_hidden": ("linear2", "input"),  # after GELU
    "ff": ("linear2", "output"),  # before it is added to the residual stream
    "out": ("", "output"),  # the encoder's output
}

Widths = Annotated[tuple[PositiveInt, ...], Field(strict=False)]


@checked
class Config:
    """What defines a CCT. The defaults are CCT-7/3x1 at 32 pixels."""

    classes: PositiveInt = 100
    image_size: PositiveInt = 32  # pixels
    width: PositiveInt = 256
    depth: PositiveInt = 7
    heads: PositiveInt = 4
    ff_width: PositiveInt = 512
    stem_widths: Widths = (256,)  # output channels of each convolution of the stem; the last is `width`
    kernel: PositiveInt = 3
    stride: PositiveInt = 1
    padding: NonNegativeInt = 1
    attention_dropout: Part = 0.1
    drop_path: Part = 0.1  # stochastic depth of the last encoder; grows linearly from 0 at the first

    def __post_init__(self):
        if not self.stem_widths or self.stem_widths[-1] != self.width:
            raise ValueError(f"stem_widths must end with the width {self.width}, got {self.stem_widths}")
        if self.width % self.heads:
            raise ValueError(f"the width must be a multiple of the number of heads, got {self.width} and {self.heads}")
        if self.grid < 1:
            raise ValueError(f"the stem must leave at least one token of an image of {self.image_size} pixels")

    @property
    def grid(self) -> int:
        """Tokens along one side of the image, after the stem."""
        side = self.image_size
        for _ in self.stem_widths:
            side = (side + 2 * self.padding - self.kernel) // self.stride + 1
            side = (side - 1) // 2 + 1  # max-pool 3, stride 2, padding 1
        return side

    pretrained: ClassVar[bool] = False
    published: ClassVar[bool] = True  # whether trained networks are small enough for that

    @property
    def sites(self) -> list[str]:
        """Names of all sites of a network, known before there is one."""
        return encoders.sites(self.depth, PLACES)

    def build(self) -> "CCT":
        """A network at random weights."""
        return CCT(self)

    def initial(self) -> "CCT":
        """The network with which training begins."""
        return CCT(self)

    def prepared(self, things: ImageSet) -> ImageSet:
        """Images at the size that the network takes."""
        if not isinstance(things, ImageSet):
            raise ValueError(f"the network takes images, {things.name} holds {things.thing}s")
        return things.resized(self.image_size)

    def noise(self, name: str, split: str, n: int, seed: int = 0) -> ImageSet:
        """A set of n images without meaning."""
        return images.noise(name, split, n, self.classes, self.image_size, seed)

    def tokens(self, factor: int = 1) -> int:
        """Tokens of an image where the sides of their grid are reduced by a factor."""
        return (self.grid // factor) ** 2


class Stem(nn.Module):
    """Convolutional tokenizer: conv, ReLU, max-pool 3/2/1, repeated; (B, 3, H, W) -> (B, T, width)."""

    def __init__(self, config: Config):
        super().__init__()
        widths = (3, *config.stem_widths)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, config.kernel, config.stride, config.padding, bias=False) for a, b in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            # ReLU and max-pooling commute; pooling first leaves a quarter of the values to rectify
            x = F.relu(F.max_pool2d(convolution(x), kernel_size=3, stride=2, padding=1))
        return x.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention, (B, T, N) -> (B, T, N); head h owns nodes h * N/H to (h + 1) * N/H - 1."""

    def __init__(self, config: Config):
        super().__init__()
        self.heads = config.heads
        self.dropout = config.attention_dropout
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.projection = nn.Linear(config.width, config.width)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        B, T, N = x.shape
        return self.qkv(x).reshape(B, T, 3, self.heads, N // self.heads).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(x)  # each (B, H, T, N/H)
        dropout = self.dropout if self.training else 0.0
        if x.device.type == "cpu" and q.dtype == torch.bfloat16:
            # on a CPU torch's fused attention takes two to three times as long as its parts
            y = F.dropout(attention_weights(q, k), dropout) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return self.projection(y.transpose(1, 2).reshape(x.shape))

    def maps(self, x: Tensor) -> Tensor:
        """The attention weights that `forward` applies in evaluation, (B, H, T, T); each row sums to one."""
        q, k, _ = self.split(x)
        return attention_weights(q, k)


class Encoder(nn.Module):
    """One encoder of the reference, (B, T, N) -> (B, T, N)."""

    def __init__(self, config: Config, drop_path: float):
        super().__init__()
        self.drop_path = drop_path
        self.pre_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.norm1 = nn.LayerNorm(config.width)
        self.linear1 = nn.Linear(config.width, config.ff_width)
        self.linear2 = nn.Linear(config.ff_width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._drop(self.attention(self.pre_norm(x)))
        x = self.norm1(x)
        return x + self._drop(self.linear2(F.gelu(self.linear1(x))))

    def _drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth: each image loses the branch with probability `drop_path`."""
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        alive = torch.rand(len(branch), 1, 1, device=branch.device) < keep
        return branch * alive.to(branch.dtype) / keep


class CCT(Encoders):
    """Compact convolutional transformer: images (B, 3, H, W), normalised -> logits (B, K)."""

    places, linear, readout = PLACES, ("linear1", "linear2"), ("norm", "pool", "classifier")
    activation = staticmethod(F.gelu)
    read_at = Site("norm", "output")

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.stem = Stem(config)
        self.position = nn.Parameter(torch.zeros(1, config.grid**2, config.width))
        last = max(1, config.depth - 1)
        self.encoders = nn.ModuleList(Encoder(config, config.drop_path * e / last) for e in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.pool = nn.Linear(config.width, 1)
        self.classifier = nn.Linear(config.width, config.classes)
        self.apply(_initialise)
        nn.init.trunc_normal_(self.position, std=0.2)

    def forward(self, images: Tensor, token_factor: int = 1) -> Tensor:
        """Logits (B, K). `token_factor` averages the grid of tokens by that factor along each side."""
        self._check(images)
        return self.behind(0, coarsened(self.stem(images) + self.position, token_factor))

    def behind(self, encoder: int, x: Tensor) -> Tensor:
        """Logits (B, K) from what enters an encoder, (B, T, N); encoders count from 0."""
        for block in self.encoders[encoder:]:
            x = block(x)
        return self.read(self.norm(x))

    def example(self, batch: int = 1) -> tuple[Tensor]:
        """What the network can be called with: images at random."""
        side = self.config.image_size
        return (torch.randn(batch, 3, side, side, device=self.position.device),)

    @torch.no_grad()
    def attention_maps(self, images: Tensor) -> list[Tensor]:
        """Attention weights of every encoder, each (B, H, T, T): query token by key token."""
        found: dict[str, Tensor] = {}
        places = {str(i): Site(f"encoders.{i}.attention", "input") for i in range(len(self.encoders))}
        with record(self, places, found.__setitem__):
            self(images)
        return [encoder.attention.maps(found[str(i)]) for i, encoder in enumerate(self.encoders)]

    def _check(self, images: Tensor):
        side = self.config.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side) or not images.is_floating_point():
            raise ValueError(
                f"images must be floating point, normalised, of shape (B, 3, {side}, {side}); got {images.dtype} of"
                f" shape {tuple(images.shape)} (lib.data.normalise turns uint8 images (B, H, W, 3) into this)"
            )


def coarsened(tokens: Tensor, factor: int) -> Tensor:
    """Tokens of a square grid, (B, T, N), averaged factor x factor: (B, T / factor**2, N)."""
    if factor == 1:
        return tokens
    side = math.isqrt(tokens.shape[1])
    if side % factor:
        raise ValueError(f"a grid of {side} x {side} tokens cannot be averaged {factor} x {factor}")
    B, _, N = tokens.shape
    return tokens.reshape(B, side // factor, factor, side // factor, factor, N).mean((2, 4)).flatten(1, 2)


def _initialise(module: nn.Module):
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)


def cct_7_3x1_32(num_classes: int = 100) -> CCT:
    """CCT-7/3x1 for 32 px images: 256 tokens, 7 encoders of width 256 with 4 heads; 3,783,269 parameters at K = 100."""
    return CCT(Config(classes=num_classes))


def cct_7_7x2_224(num_classes: int = 102) -> CCT:
    """CCT-7/7x2 for 224 px images: 196 tokens, two 7x7 convolutions of stride 2; 4,573,735 parameters at K = 102."""
    stem = dict(stem_widths=(64, 256), kernel=7, stride=2, padding=3)
    return CCT(Config(classes=num_classes, image_size=224, **stem))
