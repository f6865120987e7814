"""Augmentation of whole batches where they live: uint8 (B, H, W, 3) in, the same out, on any device."""

import torch
from torch import Tensor


def shift_and_flip(images: Tensor, shift: int = 4, flip: bool = True) -> Tensor:
    """Move every image by up to `shift` pixels in each direction and mirror half of them.

    Each image gets its own draw, from torch's global random stream of the device. The border is filled by reflection,
    so that `shift` must be smaller than the image. One gather does all of it.
    """
    B, H, W, _ = images.shape
    if not 0 <= shift < min(H, W):
        raise ValueError(f"shift must be at least 0 and less than the image's {min(H, W)} pixels, got {shift}")
    device = images.device

    def source(size: int) -> Tensor:  # (B, size): the row or column that each pixel is taken from
        start = torch.randint(-shift, shift + 1, (B, 1), device=device)
        position = (torch.arange(size, device=device) + start).abs()  # reflects at the first pixel
        return torch.where(position < size, position, 2 * (size - 1) - position)  # and at the last

    rows, columns = source(H), source(W)
    if flip:
        mirrored = torch.rand(B, 1, device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    return images[torch.arange(B, device=device)[:, None, None], rows[:, :, None], columns[:, None, :]]
