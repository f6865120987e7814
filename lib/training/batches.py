"""The batches of a training: images that stay on the device, shuffled and augmented there, many steps at a time.

Everything random in step t (which images, what happens to them) is a function of (seed, t) alone, so that a training
can go on at any step; and it is drawn for the batch of all processes, so that it does not depend on their number.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lib.data import ImageSet, normalise, tensor
from lib.data.augment import mixing
from lib.data.augment.apply import augment
from lib.data.augment.mixing import Targets
from lib.data.augment.plan import Augmentation, decide, draw
from lib.system import parallel
from lib.system.device import seed_for, send

PIXELS_AT_ONCE = {"cpu": 2**20, "cuda": 2**21}  # small enough for a cache, large enough to keep threads busy


class TrainingBatches:
    """Augmented batches of an image set: `steps(first, last)` yields (images (B, 3, H, W), targets) of some steps.

    batch: images a step of all processes; each process gets its part. Raises ValueError if there are fewer images than
    that, or if the batch cannot be shared out evenly (in pairs, where images are mixed).
    """

    def __init__(
        self,
        images: ImageSet,
        policy: Augmentation,
        batch: int,
        seed: int,
        device: str | torch.device = "cpu",
    ):
        self.per_epoch = images.steps(batch)
        if batch % (unit := parallel.size() * (2 if policy.mixes else 1)):
            raise ValueError(
                f"a batch must be a multiple of {unit} for {parallel.size()} process(es)"
                f"{' that mix images in pairs' if policy.mixes else ''}, got {batch}"
            )
        self.images, self.policy, self.batch, self.seed = images, policy, batch, seed
        self.device = torch.device(device)
        self.pixels, self.labels = (tensor(a).to(device) for a in (images.images, images.labels))
        self.H, self.W = images.images.shape[1:3]
        self.fill = tuple(round(255 * m) for m in images.mean)
        self.noise = mixing.noise_images(self.H, self.W, seed_for(seed), device) if policy.erase else None
        self.order = lru_cache(1)(self._order)
        self.mine = parallel.part(batch)

    def steps(self, first: int, last: int) -> Iterator[tuple[Tensor, Targets]]:
        """The batches of steps first ... last - 1."""
        size = self.mine.stop - self.mine.start
        at_once = max(1, PIXELS_AT_ONCE.get(self.device.type, PIXELS_AT_ONCE["cpu"]) // (size * self.H * self.W))
        for start in range(first, last, at_once):
            chunk = range(start, min(start + at_once, last))
            yield from self._prepare(chunk, size)

    def _order(self, epoch: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng(seed_for(self.seed, epoch)).permutation(len(self.images)))

    def _prepare(self, chunk: range, size: int) -> Iterator[tuple[Tensor, Targets]]:
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
            yield images[i : i + size], Targets(*(None if t is None else t[i : i + size] for t in targets))

    def _draw(self, step: int) -> dict[str, Tensor]:
        """What is drawn for this process's images of a step."""
        epoch, position = divmod(step, self.per_epoch)
        generator = torch.Generator().manual_seed(seed_for(self.seed, epoch, position))
        drawn = draw(self.policy, self.batch, self.H, self.W, generator)
        drawn["chosen"] = self.order(epoch)[position * self.batch : (position + 1) * self.batch]
        if self.policy.mixes:
            random = np.random.default_rng(seed_for(self.seed, epoch, position, 1))
            drawn["mixing"] = mixing.draw_mixing(self.policy, self.H, self.W, random).expand(self.batch, 5)
        return {key: value[self.mine] for key, value in drawn.items()}
