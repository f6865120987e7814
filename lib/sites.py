"""Sites: named places in a network where activations are read, in any `torch.nn.Module`."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from torch import Tensor, nn


class Site(NamedTuple):
    """A place in a network: the input or the output of one of its modules."""

    module: str  # dotted name, as in `nn.Module.get_submodule`
    side: str  # "input" or "output"


@contextmanager
def record(network: nn.Module, sites: Mapping[str, Site], receive: Callable[[str, Tensor], None]):
    """While the context is open, each forward pass calls `receive(name, activations)` at every site, in passing.

    The hooks are removed when the context closes, also after an error, so that a network which nobody listens to runs
    at its full speed. `receive` gets the very tensor that flows through the network: reduce it at once (it is in the
    cache) or keep a reference, but do not change it.
    """
    with ExitStack() as stack:
        for name, site in sites.items():
            module = network.get_submodule(site.module)
            if site.side == "input":
                handle = module.register_forward_pre_hook(lambda _, x, name=name: receive(name, x[0]))
            elif site.side == "output":
                handle = module.register_forward_hook(lambda _, x, y, name=name: receive(name, y))
            else:
                raise ValueError(f"a site is the 'input' or the 'output' of a module, got {site.side!r} for {name!r}")
            stack.callback(handle.remove)
        yield
