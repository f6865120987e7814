"""Any trained `torch.nn.Module` made measurable: name places in it, and probes and measures work on it unchanged."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain

import torch
from torch import Tensor, nn

from lib.data import LabelledSet, batches
from lib.sites import (
    Site,
    channels_first,
    channels_last,
    evaluating,
    flattened,
    parse,
    record,
    sequence_first,
    tokens,
)
from lib.system import vision  # noqa: F401  (from here on torchvision can be imported, also by timm and vit_pytorch)
from lib.system.device import device_of
from lib.system.errors import unknown

__all__ = ["Adapted", "channels_first", "channels_last", "flattened", "sequence_first", "tokens"]


def grey(images: Tensor) -> Tensor:
    """The luminance of images (B, 3, H, W), as Pillow weighs the colours: (B, 1, H, W)."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


FORMS = (lambda x: x, Tensor.contiguous, grey)  # of images, of which a network gets the first that it takes


class Adapted(nn.Module):
    """A network, and the sites at which `lib.training.probes` and `lib.measure` are to read it.

        adapted = Adapted(network, {"1.ff": Site("blocks.0.mlp", "output")}, images)

    network: any module that maps normalised images (B, 3, H, W) to anything; it is used, not copied, and left as it is.
    It gets the images where its weights are and in their precision; as rows of colours, which is fast, if it can work
    on them, else as planes; grey if it takes one channel. Activations are read as float32.
    sites: {name: Site}. A name has the form "<depth>.<place>", with a whole number.
    images: two of them go through the network once, to find the width and the layout of each site.

    Sites without a layout are read as `tokens`, or as maps where their shape tells `channels_first` from
    `channels_last`: maps have the images' proportions. The Site of any other has a layout of its own.

    Raises ValueError, which names the site, for: a name of another form; a module that the network does not have (with
    the nearest names); an activation that is no tensor, could lie in two ways or does not begin with the images; a
    layout that fails; a module that a forward pass calls never, or more than once.
    """

    def __init__(self, network: nn.Module, sites: Mapping[str, Site], images: LabelledSet):
        super().__init__()
        if not sites:
            raise ValueError("name at least one site, as in {'1.ff': Site('blocks.0.mlp', 'output')}")
        modules = dict(network.named_modules(remove_duplicate=False))
        for name, site in sites.items():
            parse(name)
            if site.module not in modules:
                raise unknown(f"module at site {name!r}:", site.module, filter(None, modules))
        self.network = network
        self._places = dict(sites)
        self._form = FORMS[0]
        self._widths = self._try(images)

    @property
    def sites(self) -> list[str]:
        """Names of all sites, as they were given."""
        return list(self._places)

    def site(self, name: str) -> Site:
        """Where `lib.sites.record` finds the activations of a site; ValueError if there is no such site."""
        if name not in self._places:
            raise unknown("site", name, self._places)
        module, side, layout = self._places[name]
        return Site(f"network.{module}".rstrip("."), side, lambda h: layout(h).float())

    def width(self, site: str) -> int:
        """Number of nodes of a site."""
        self.site(site)
        return self._widths[site]

    def forward(self, inputs: Tensor, *more):
        if inputs.is_floating_point():
            weights = chain(self.network.parameters(), self.network.buffers())
            like = next((w for w in weights if w.is_floating_point()), inputs)
            inputs = self._form(inputs.to(like.device, like.dtype))
        return self.network(inputs, *more)

    @torch.no_grad()
    def activations(self, images: Tensor, sites: Iterable[str] | None = None) -> dict[str, Tensor]:
        """What the nodes of some sites (default: all) do: {site: (B, T, nodes)}."""
        found: dict[str, Tensor] = {}
        places = {name: self.site(name) for name in sites or self.sites}
        with record(self, places, lambda name, h: found.__setitem__(name, h.clone())):
            self(images)
        return found

    def _try(self, images: LabelledSet) -> dict[str, int]:
        """One forward pass over two images: how the network takes them, the layout and the width of each site."""
        batch = next(batches(images, device_of(self.network), 2))
        seen: dict[str, list] = {}
        places = {name: site._replace(layout=None) for name, site in self._places.items()}
        errors = []
        with evaluating(self), record(self.network, places, lambda name, h: seen[name].append(h)):
            for self._form in FORMS:
                seen.update({name: [] for name in places})
                try:
                    self(*batch.given)
                    break
                except Exception as error:  # of any kind: a network says what it cannot take by failing on it
                    errors.append(error)
            else:
                raise errors[0]
            for name, found in seen.items():
                self._places[name], seen[name] = _read(name, self._places[name], found, batch.inputs)
        return {name: h.shape[2] for name, h in seen.items()}


def _read(name: str, site: Site, found: list, x: Tensor) -> tuple[Site, Tensor]:
    """The site with its layout, and what was found there in it, (B, T, nodes), for the inputs x."""
    where = f"site {name!r}, the {site.side} of {site.module!r}"
    if not found:
        raise ValueError(
            f"{where}, is not reached in a forward pass: the network does not call that module, or uses its weights"
            " without calling it, as an nn.MultiheadAttention does with its out_proj (it has a side 'heads'); name"
            " another"
        )
    if len(found) > 1:
        raise ValueError(
            f"{where}, is reached {len(found)} times in one forward pass: name a module that is called once, such"
            " as one before or after it"
        )
    layout = site.layout or _layout(found[0], x, where)
    try:
        h = layout(found[0])
        shape = tuple(h.shape)
    except Exception as error:
        raise ValueError(f"{where}: its layout fails there: {type(error).__name__}: {error}") from error
    if len(shape) != 3 or len(h) != len(x):
        raise ValueError(
            f"{where}: expected activations (images, tokens, nodes) of {len(x)} images, got shape {shape}; give the"
            " site a layout that makes them so, such as adapt.sequence_first"
        )
    return site._replace(layout=layout), h


def _layout(h: Tensor, x: Tensor, where: str) -> Callable[[Tensor], Tensor]:
    """How activations lie, if their shape leaves no doubt."""
    shape = () if not isinstance(h, Tensor) or h.is_nested else tuple(h.shape)
    if len(shape) == 2 or (len(shape) == 3 and shape[:2] != (len(x), len(x))):
        return tokens
    if len(shape) == 4:
        H, W = x.shape[2:] if x.ndim == 4 else (1, 1)
        is_first, is_last = (a * W == b * H for a, b in (shape[2:], shape[1:3]))
        if is_first != is_last:
            return channels_first if is_first else channels_last
    got = f"shape {shape}" if shape else f"a {'nested ' * isinstance(h, Tensor)}{type(h).__name__}"
    raise ValueError(
        f"{where}: expected tokens (B, T, N), maps (B, C, H, W) or (B, H, W, C), or vectors (B, N), and no doubt which,"
        f" got {got}; name a module inside or give the site a layout, such as adapt.tokens, channels_first,"
        " channels_last or sequence_first"
    )
