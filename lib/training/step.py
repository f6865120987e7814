"""One step of training: forward and backward pass and the optimisers', without waiting for the device."""

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lib.data.augment.mixing import Targets
from lib.recipes import TrainingRecipe
from lib.system import parallel
from lib.system.device import muon_products, precision, products


class TrainingStep:
    """Trains `network`, in place, a batch a call.

    On a GPU, and where the recipe says so, matrices are multiplied in bfloat16, weights and moments kept in float32;
    `compiled` also compiles the network, on a GPU into graphs of kernels that are launched as one. Convolutions work in
    the memory layout in which the images come. The processes of a group (`lib.system.parallel`) each call with their
    part of the batch, and their gradients are averaged.
    """

    def __init__(self, network: nn.Module, recipe: TrainingRecipe, compiled: bool = False):
        self.network, self.recipe = network, recipe
        self.device = next(network.parameters()).device
        self.precision = precision(recipe.precision, self.device)
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimisers = optimisers(network, recipe)
        self.averaged = None
        if recipe.average:
            self.averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
        self.forward = _compiled(network, self.device) if compiled else network
        if parallel.size() > 1:
            here = [torch.cuda.current_device()] if self.device.type == "cuda" else None
            self.forward = DistributedDataParallel(self.forward, device_ids=here)

    def __call__(
        self, images: Tensor, targets: Targets, lr: float, token_factor: int = 1, mask: Tensor | None = None
    ) -> Tensor:
        """A step at learning rate `lr`; returns (sum of losses, number of correct images), still on the device."""
        with products(self.precision, self.device):
            if mask is not None:
                logits = self.forward(images, mask)
            else:
                logits = self.forward(images) if token_factor == 1 else self.forward(images, token_factor)
        logits = logits.float()
        loss = targets.loss(logits, self.recipe.label_smoothing)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = lr
            with muon_products(self.device):
                optimiser.step()
        if self.averaged:
            self.averaged.update_parameters(self.network)
        return torch.stack([loss.detach() * len(images), targets.correct(logits.detach())])

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a checkpoint keeps."""
        found = {"network": self.network} | {f"optimiser{i}": o for i, o in enumerate(self.optimisers)}
        return found | ({"averaged": self.averaged} if self.averaged else {})

    @property
    def result(self) -> nn.Module:
        """The network with the weights that count: its own, or their average."""
        if self.averaged:
            self.network.load_state_dict(self.averaged.module.state_dict())
        return self.network.eval()


def _compiled(network: nn.Module, device: torch.device) -> nn.Module:
    # kernels of a compact network are shorter than their launches: graphs halve a step of CCT-7/3x1 on an H200
    torch.compiler.reset()  # of networks trained one after another only the first eight would be compiled
    return torch.compile(network, mode="reduce-overhead" if device.type == "cuda" else "default")


def optimisers(network: nn.Module, recipe: TrainingRecipe) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters, or Muon for the matrices inside of encoders and AdamW for the rest.

    Weight decay falls on parameters of two or more dimensions. Muon (K. Jordan, 2024) moves a matrix along its
    orthogonalised momentum; its steps are scaled to the size of AdamW's (arXiv:2502.16982), so that one rate serves
    both. A read-out that is trained alone has none. ValueError where there is no matrix for it.
    """
    named = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    if recipe.optimiser == "adamw" or recipe.parts == "readout":  # behind the encoders AdamW trains all
        return [adamw([p for _, p in named], recipe)]
    inner = [p for n, p in named if p.ndim == 2 and n.startswith("encoders.")]
    if not inner:
        raise ValueError("the optimiser 'muon' is for the matrices of a network's `encoders`; this one has none")
    rest = [p for n, p in named if not (p.ndim == 2 and n.startswith("encoders."))]
    muon = torch.optim.Muon(inner, lr=recipe.lr, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw")
    return [muon, adamw(rest, recipe)]


def adamw(parameters: list[nn.Parameter], recipe: TrainingRecipe) -> torch.optim.AdamW:
    """AdamW with weight decay on all parameters of two or more dimensions, the others without."""
    matrices, rest = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
