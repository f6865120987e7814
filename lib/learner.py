"""One step of training: forward and backward pass and AdamW, without waiting for the device."""

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lib import parallel
from lib.mixing import Targets
from lib.recipe import Recipe


class Learner:
    """Trains `network`, in place, a batch a call.

    On a GPU matrices are multiplied in bfloat16, weights and moments kept in float32, and images run through the stem
    in channels-last order; `compiled` also compiles the network. The processes of a group (`lib.parallel`) each call
    with their part of the batch, and their gradients are averaged.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, compiled: bool = False):
        self.network, self.recipe = network, recipe
        self.device = next(network.parameters()).device
        gpu = self.device.type == "cuda"
        if gpu:
            network.to(memory_format=torch.channels_last)
        self.precision = torch.autocast(self.device.type, torch.bfloat16, enabled=gpu)
        self.optimiser = adamw(network, recipe)
        self.forward = torch.compile(network) if compiled else network
        if parallel.size() > 1:
            here = [torch.cuda.current_device()] if gpu else None
            self.forward = DistributedDataParallel(self.forward, device_ids=here)

    def __call__(self, images: Tensor, targets: Targets, lr: float) -> Tensor:
        """A step at learning rate `lr`; returns (sum of losses, number of correct images), still on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        with self.precision:
            logits = self.forward(images)
        logits = logits.float()
        loss = targets.loss(logits, self.recipe.label_smoothing)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return torch.stack([loss.detach() * len(images), targets.correct(logits.detach())])


def adamw(network: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with weight decay on all parameters of two or more dimensions, the others without."""
    trained = [p for p in network.parameters() if p.requires_grad]
    matrices, rest = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
