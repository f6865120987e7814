"""The batches of a training: things in random order; images stay on the device and are augmented there.

Everything random in step t (which images, what happens to them) is a function of (seed, t) alone, so that a training
can go on at any step; and it is drawn for the batch of all processes, so that it does not depend on their number.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lib.data import Batch, ImageSet, LabelledSet, normalise, tensor
from lib.data.augment import mixing
from lib.data.augment.apply import augment, shift_and_flip
from lib.data.augment.mixing import Targets
from lib.data.augment.plan import Augmentation, decide, draw
from lib.system import parallel
from lib.system.device import seed_for, send

PIXELS_AT_ONCE = {"cpu": 2**20, "cuda": 2**21}  # small enough for a cache, large enough to keep threads busy


class PlainBatches:
    """Batches of a set as it is: `steps(first, last)` yields the `Batch` of each step, its labels as `Targets`.

    batch: things a step of all processes; each process gets its part. Raises ValueError if there are fewer things than
    that, or if the batch cannot be shared out evenly.
    """

    def __init__(self, things: LabelledSet, batch: int, seed: int, device: str | torch.device = "cpu", unit: int = 1):
        self.per_epoch = things.steps(batch)
        if batch % (unit * parallel.size()):
            raise ValueError(
                f"a batch must be a multiple of {unit * parallel.size()} for {parallel.size()} process(es)"
                f"{' that mix images in pairs' if unit > 1 else ''}, got {batch}"
            )
        self.things, self.batch, self.seed, self.device = things, batch, seed, torch.device(device)
        self.order = lru_cache(1)(self._order)
        self.mine = parallel.part(batch)

    def steps(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps first ... last - 1."""
        for step in range(first, last):
            found = self.things.batch(self.chosen(step)[self.mine].numpy(), self.device)
            yield found._replace(labels=Targets(found.labels))

    def chosen(self, step: int) -> Tensor:
        """Which things a step takes, for all processes."""
        epoch, position = divmod(step, self.per_epoch)
        return self.order(epoch)[position * self.batch : (position + 1) * self.batch]

    def _order(self, epoch: int) -> Tensor:
        return torch.from_numpy(self.things.shuffled(np.random.default_rng(seed_for(self.seed, epoch)), self.batch))


class TrainingBatches(PlainBatches):
    """The same of an image set, augmented, many steps at a time; in pairs, where images are mixed."""

    def __init__(
        self,
        images: ImageSet,
        policy: Augmentation,
        batch: int,
        seed: int,
        device: str | torch.device = "cpu",
    ):
        super().__init__(images, batch, seed, device, unit=2 if policy.mixes else 1)
        self.images, self.policy = images, policy
        self.pixels, self.labels = (tensor(a).to(device) for a in (images.images, images.labels))
        self.H, self.W = images.images.shape[1:3]
        self.fill = tuple(round(255 * m) for m in images.mean)
        self.noise = mixing.noise_images(self.H, self.W, seed_for(seed), device) if policy.erase else None

    def steps(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps first ... last - 1."""
        size = self.mine.stop - self.mine.start
        at_once = max(1, PIXELS_AT_ONCE.get(self.device.type, PIXELS_AT_ONCE["cpu"]) // (size * self.H * self.W))
        for start in range(first, last, at_once):
            chunk = range(start, min(start + at_once, last))
            yield from self._prepare(chunk, size)

    def _prepare(self, chunk: range, size: int) -> Iterator[Batch]:
        """Augment the images of some steps together, then hand them out step by step."""
        each = [self._draw(step) for step in chunk]
        drawn = {key: torch.cat([d[key] for d in each]) for key in each[0]}
        plan = decide(self.policy, drawn, self.H, self.W)
        chosen = send(drawn["chosen"], self.device)
        images, labels = self.pixels.index_select(0, chosen), self.labels[chosen]
        images = augment(images, plan, self.fill)
        images = normalise(images, self.images.mean, self.images.std)
        if "erased" in plan:
            images = mixing.erase(images, plan["erased"], self.noise)
        targets = Targets(labels)
        if "mixing" in drawn:
            images, targets = mixing.mix(images, labels, drawn["mixing"])
        for i in range(0, len(images), size):
            yield Batch(images[i : i + size], Targets(*(None if t is None else t[i : i + size] for t in targets)))

    def _draw(self, step: int) -> dict[str, Tensor]:
        """What is drawn for this process's images of a step."""
        epoch, position = divmod(step, self.per_epoch)
        generator = torch.Generator().manual_seed(seed_for(self.seed, epoch, position))
        drawn = draw(self.policy, self.batch, self.H, self.W, generator)
        drawn["chosen"] = self.chosen(step)
        if self.policy.mixes:
            random = np.random.default_rng(seed_for(self.seed, epoch, position, 1))
            drawn["mixing"] = mixing.draw_mixing(self.policy, self.H, self.W, random).expand(self.batch, 5)
        return {key: value[self.mine] for key, value in drawn.items()}


def training_batches(
    things: LabelledSet, policy: Augmentation, batch: int, seed: int, device: str | torch.device = "cpu"
) -> PlainBatches:
    """Batches of a set: augmented, if it is one of images."""
    if isinstance(things, ImageSet):
        return TrainingBatches(things, policy, batch, seed, device)
    return PlainBatches(things, batch, seed, device)


def shifted_and_flipped(
    things: LabelledSet, shift: int, flip: bool, device: str | torch.device
) -> Callable[[Tensor, slice], Batch]:
    """A function that makes a batch of chosen things, of which this process gets a part; images are moved at random."""
    if not isinstance(things, ImageSet):
        return lambda chosen, part: things.batch(chosen[part].numpy(), device)
    pixels, labels = (tensor(a).to(device) for a in (things.images, things.labels))

    def batch(chosen: Tensor, part: slice) -> Batch:
        chosen = chosen.to(device)
        images = shift_and_flip(pixels[chosen], shift, flip)[part]
        return Batch(normalise(images, things.mean, things.std), labels[chosen][part])

    return batch
