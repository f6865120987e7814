"""Sites: named places in a network where activations are read, in any `torch.nn.Module`.

A site's name is `"<encoder>.<place>"`, such as "3.ff": encoders (or whatever a network has in depth) count from 1.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn


class Site(NamedTuple):
    """A place in a network: the input or the output of one of its modules."""

    module: str  # dotted name, as in `nn.Module.get_submodule`
    side: str  # "input" or "output"
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


@contextmanager
def record(network: nn.Module, sites: Mapping[str, Site], receive: Callable[[str, Tensor], None]):
    """While the context is open, each forward pass calls `receive(name, activations)` at every site, in passing.

    The hooks are removed when the context closes, also after an error, so that a network which nobody listens to runs
    at its full speed. Where a site has no layout, `receive` gets the very tensor that flows through the network: reduce
    it at once (it is in the cache) or keep a reference, but do not change it.
    """
    with ExitStack() as stack:
        for name, site in sites.items():
            module, hand = network.get_submodule(site.module), partial(_hand, name, site, receive)
            if site.side == "input":
                handle = module.register_forward_pre_hook(lambda _, x, hand=hand: hand(x[0]))
            elif site.side == "output":
                handle = module.register_forward_hook(lambda _, x, y, hand=hand: hand(y))
            else:
                raise ValueError(f"a site is the 'input' or the 'output' of a module, got {site.side!r} for {name!r}")
            stack.callback(handle.remove)
        yield


def _hand(name: str, site: Site, receive: Callable[[str, Tensor], None], h: Tensor):
    receive(name, site.layout(h) if site.layout else h)
