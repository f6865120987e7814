"""Sites: named places in a network where activations are read, in any `torch.nn.Module`.

A site's name is `"<encoder>.<place>"`, such as "3.ff": encoders (or whatever a network has in depth) count from 1.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Site(NamedTuple):
    """A place in a network: the input or the output of one of its modules, or what the heads of an attention put out.

    The heads of an `nn.MultiheadAttention` are the side "heads": their outputs side by side, before the output
    projection, which it applies without calling it. In other makes that is the projection's input.
    """

    module: str  # dotted name, as in `nn.Module.get_submodule`
    side: str  # "input", its first argument; "output"; "heads"
    layout: Callable[[Tensor], Tensor] | None = None  # what the module hands on -> (B, T, nodes); None: it is so


class Layer(NamedTuple):
    """A fully connected layer between two sites."""

    module: str  # dotted name of an `nn.Linear`
    inputs: str
    outputs: str | None  # None where its outputs are the labels
    summed: str | None = None  # the site of its outputs after they are added to the residual stream


class Name(NamedTuple):
    """A site's name in its parts."""

    encoder: int
    place: str


def parse(name: str) -> Name:
    """The parts of a site's name; ValueError where it is no "<encoder>.<place>"."""
    encoder, _, place = name.partition(".")
    if not (encoder.isdecimal() and place):
        raise ValueError(f"a site's name must be '<encoder>.<place>' with a whole number first, got {name!r}")
    return Name(int(encoder), place)


def at(names: Iterable[str], *places: str) -> list[str]:
    """Those of the sites that lie at some places: place by place, along the encoders."""
    parts = {name: parse(name) for name in names}
    return [name for place in places for name, part in parts.items() if part.place == place]


def tokens(h: Tensor) -> Tensor:
    """Tokens (B, T, N) as they are; a vector (B, N) is one token, (B, 1, N)."""
    return h.unsqueeze(1) if h.ndim == 2 else h


def sequence_first(h: Tensor) -> Tensor:
    """Tokens (T, B, N), as `nn.TransformerEncoder` has them by default."""
    return h.transpose(0, 1)


def channels_first(h: Tensor) -> Tensor:
    """Maps (B, C, H, W): each filter is a node and each position a token, (B, H * W, C)."""
    return h.flatten(2).transpose(1, 2)


def channels_last(h: Tensor) -> Tensor:
    """Maps (B, H, W, C), as in a Swin transformer, likewise."""
    return h.flatten(1, -2)


def flattened(h: Tensor) -> Tensor:
    """Maps (B, C, H, W) as one token of C * H * W nodes, filter by filter: a read-out with a weight a position."""
    return h.flatten(1).unsqueeze(1)


@contextmanager
def evaluating(network: nn.Module):
    """Evaluation mode and no gradients; afterwards each module is in the mode in which it was."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def record(network: nn.Module, sites: Mapping[str, Site], receive: Callable[[str, Tensor], None]):
    """While the context is open, each forward pass calls `receive(name, activations)` at every site, in passing.

    The hooks are removed when the context closes, also after an error, so that a network which nobody listens to runs
    at its full speed. Where a site has no layout, `receive` gets the very tensor that flows through the network: reduce
    it at once (it is in the cache) or keep a copy, since the network may go on to write into it, and do not change it.
    """
    with ExitStack() as stack:
        for name, site in sites.items():
            module, hand = network.get_submodule(site.module), partial(_hand, name, site, receive)
            if site.side == "heads" and not isinstance(module, nn.MultiheadAttention):
                raise ValueError(
                    f"site {name!r}: an nn.MultiheadAttention has the side 'heads', {site.module!r} is a"
                    f" {type(module).__name__}: name the input of its output projection"
                )
            if site.side == "output":
                handle = module.register_forward_hook(lambda _, x, y, hand=hand: hand(y))
            elif site.side in _BEFORE:
                handle = module.register_forward_pre_hook(
                    lambda m, x, named, hand=hand, of=_BEFORE[site.side]: hand(of(m, x, named)), with_kwargs=True
                )
            else:
                raise ValueError(
                    f"a site is the 'input', the 'output' or the 'heads' of a module, got {site.side!r} for {name!r}"
                )
            stack.callback(handle.remove)
        yield


def _hand(name: str, site: Site, receive: Callable[[str, Tensor], None], h: Tensor):
    h = site.layout(h) if site.layout else h
    if torch.is_inference_mode_enabled() or (isinstance(h, Tensor) and h.is_inference()):
        with torch.inference_mode(False), torch.no_grad():  # nothing can be learnt from a tensor of inference mode
            receive(name, h.clone() if isinstance(h, Tensor) else h)
    else:
        receive(name, h)


def _first(module: nn.Module, given: tuple, named: dict):
    """The first argument of a call, by position or by name; None where there is none."""
    if given:
        return given[0]
    order = [*inspect.signature(module.forward).parameters, *named]
    return next((named[name] for name in order if name in named), None)


class _Unheard(nn.Module):
    """A module without its hooks."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *given, **named):
        return self.module.forward(*given, **named)


def _heads(attention: nn.MultiheadAttention, given: tuple, named: dict) -> Tensor:
    """What a call makes when the output projection is an identity, (B, T, N): masks, order and all are the module's."""
    weight, bias = attention.out_proj.weight, attention.out_proj.bias
    identity = {"module.out_proj.weight": torch.eye(len(weight), dtype=weight.dtype, device=weight.device)}
    if bias is not None:
        identity["module.out_proj.bias"] = torch.zeros_like(bias)
    h = functional_call(_Unheard(attention), identity, given, named)[0]
    return h if attention.batch_first else h.transpose(0, -2)


_BEFORE = {"input": _first, "heads": _heads}  # what is seen before the module runs
