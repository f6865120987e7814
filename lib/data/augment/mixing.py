"""Random erasing, MixUp and CutMix: what is done to normalised images (B, 3, H, W), and to their targets.

Images are mixed in pairs (0 with 1, 2 with 3, ...): batches are in random order, so this is as random as any pairing,
and a batch that is shared out among processes in parts of even size is mixed in the same way as a whole.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.system.devices import send
from lib.data.augment.policy import Augmentation

NOISES = 256  # images of noise, from which erased rectangles take theirs


class Targets(NamedTuple):
    """What a batch should be recognised as: label (B,), and where images were mixed the partner's label and shares."""

    labels: Tensor
    partners: Tensor | None = None
    share: Tensor | None = None  # (B,) of the first label

    def loss(self, logits: Tensor, smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy against the mixed, smoothed targets."""
        if self.partners is None:
            return F.cross_entropy(logits, self.labels, label_smoothing=smoothing)
        own, other = (
            F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
            for labels in (self.labels, self.partners)
        )
        return (self.share * own + (1 - self.share) * other).mean()

    def correct(self, logits: Tensor) -> Tensor:
        """Sum of the shares of the labels that were found."""
        found = logits.argmax(1)
        if self.partners is None:
            return (found == self.labels).sum()
        return (self.share * (found == self.labels) + (1 - self.share) * (found == self.partners)).sum()


def noise_images(H: int, W: int, seed: int, device: str | torch.device = "cpu") -> Tensor:
    """Standard normal noise, (NOISES, 3, H, W), the same on every device."""
    return torch.randn(NOISES, 3, H, W, generator=torch.Generator().manual_seed(seed)).to(device)


def _within(boxes: Tensor, H: int, W: int) -> Tensor:
    """Which pixels lie in each box (left, top, width, height): (B, 1, H, W) bool."""
    left, top, width, height = boxes[:, :4, None, None].unbind(1)  # each (B, 1, 1)
    y = torch.arange(H, device=boxes.device)[:, None]
    x = torch.arange(W, device=boxes.device)
    return ((x >= left) & (x < left + width) & (y >= top) & (y < top + height)).unsqueeze(1)


def erase(images: Tensor, boxes: Tensor, noise: Tensor) -> Tensor:
    """Fill each image's rectangle with noise; boxes (B, 5) as `lib.data.augment.policy.decide` gives them under "erased"."""
    chosen = (boxes[:, 2] > 0).nonzero()[:, 0]  # on the CPU: the device never waits
    if not len(chosen):
        return images
    boxes, there = send(boxes[chosen], images.device), send(chosen, images.device)
    images = images.clone(memory_format=torch.preserve_format)
    inside = _within(boxes, *images.shape[2:])
    images[there] = torch.where(inside, noise[(boxes[:, 4] * NOISES).long()].to(images.dtype), images[there])
    return images


def draw_mixing(policy: Augmentation, H: int, W: int, random: np.random.Generator) -> Tensor:
    """How one batch is mixed, (5,): left, top, width, height of the pasted box, and the share that stays.

    An unmixed batch keeps all. MixUp has no box; CutMix keeps all outside its box. Where both are on, either comes with
    probability 1/2. As in timm's Mixup in mode "batch": the box's centre is anywhere, so that a part of it may be cut
    off at the border.
    """
    if policy.mixed < 1 and random.random() >= policy.mixed:
        return torch.tensor([0, 0, 0, 0, 1], dtype=torch.float32)
    cut = policy.cutmix > 0 and (policy.mixup == 0 or random.random() < 0.5)
    alpha = policy.cutmix if cut else policy.mixup
    share = random.beta(alpha, alpha)
    if not cut:
        return torch.tensor([0, 0, 0, 0, share], dtype=torch.float32)
    side = np.sqrt(1 - share)
    height, width = int(H * side), int(W * side)
    y, x = random.integers(H), random.integers(W)
    top, bottom = np.clip([y - height // 2, y + height // 2], 0, H)
    left, right = np.clip([x - width // 2, x + width // 2], 0, W)
    return torch.tensor(
        [left, top, right - left, bottom - top, 1 - (bottom - top) * (right - left) / (H * W)], dtype=torch.float32
    )


def mix(images: Tensor, labels: Tensor, mixing: Tensor) -> tuple[Tensor, Targets]:
    """Mix each image with its neighbour, as `mixing` (B, 5) says for its batch; B must be even."""
    if len(images) % 2:
        raise ValueError(f"images are mixed in pairs: the batch must be even, got {len(images)}")
    mixing = send(mixing, images.device)
    share = mixing[:, 4]
    cut = (mixing[:, 2:4] > 0).all(1)
    pasted = _within(mixing, *images.shape[2:]).float()
    keep = torch.where(cut[:, None, None, None], 1 - pasted, share[:, None, None, None])  # of each pixel
    swap = torch.arange(len(images), device=images.device) ^ 1
    partners = images.permute(0, 2, 3, 1)[swap].permute(0, 3, 1, 2)  # channels-last order is kept
    return torch.lerp(partners, images, keep), Targets(labels, labels[swap], share)
