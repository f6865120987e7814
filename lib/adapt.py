"""Any trained `torch.nn.Module` made measurable: name places in it, and probes and measures work on it unchanged."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from lib.data import LabelledSet, batches
from lib.sites import Site, record
from lib.system.errors import unknown


def tokens(h: Tensor) -> Tensor:
    """Activations as a probe reads them, (B, T, nodes).

    Tokens (B, T, N) stay as they are; of maps (B, C, H, W) each filter is a node and each position a token,
    (B, H * W, C); a vector (B, N) is one token, (B, 1, N).
    """
    if h.ndim == 4:
        return h.flatten(2).transpose(1, 2)
    return h.unsqueeze(1) if h.ndim == 2 else h


def flattened(h: Tensor) -> Tensor:
    """Maps (B, C, H, W) as one token of C * H * W nodes, filter by filter: a read-out with a weight a position."""
    return h.flatten(1).unsqueeze(1)


class Adapted(nn.Module):
    """A network, and the sites at which `lib.training.probes` and `lib.measure` are to read it.

        adapted = Adapted(network, {"1.ff": Site("blocks.0.mlp", "output")}, images)

    network: any module that maps normalised images (B, 3, H, W) to anything; it is used, not copied, so that training
    probes freezes it.
    sites: {name: Site}. A name of the form "<depth>.<place>", with a whole number, suits the statistics, the charts and
    the explorers. Where `tokens` does not fit, say for maps with channels last, the Site has a layout of its own.
    images: two of them go through the network once, to find the width of each site.

    Raises ValueError, which names the site, for: a module that the network does not have (with the nearest names); an
    activation that is no tensor, has another number of dimensions or does not begin with the images; a module that a
    forward pass calls never, or more than once.
    """

    def __init__(self, network: nn.Module, sites: Mapping[str, Site], images: LabelledSet):
        super().__init__()
        modules = dict(network.named_modules())
        for name, site in sites.items():
            if site.module not in modules:
                raise unknown(f"module at site {name!r}:", site.module, filter(None, modules))
        self.network = network
        self._places = dict(sites)
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
        return Site(f"network.{module}".rstrip("."), side, lambda h: (layout or tokens)(h).float())

    def width(self, site: str) -> int:
        """Number of nodes of a site."""
        self.site(site)
        return self._widths[site]

    def forward(self, *given: Tensor):
        return self.network(*given)

    @torch.no_grad()
    def activations(self, images: Tensor, sites: Iterable[str] | None = None) -> dict[str, Tensor]:
        """What the nodes of some sites (default: all) do: {site: (B, T, nodes)}."""
        found: dict[str, Tensor] = {}
        with record(self, {name: self.site(name) for name in sites or self.sites}, found.__setitem__):
            self(images)
        return found

    @torch.no_grad()
    def _try(self, images: LabelledSet) -> dict[str, int]:
        """One forward pass over two images: the width of each site, or what is wrong with it."""
        device = next((p.device for p in self.network.parameters()), torch.device("cpu"))
        batch = next(batches(images, device, 2))
        seen: dict[str, list[Tensor]] = {name: [] for name in self._places}
        places = {name: site._replace(layout=None) for name, site in self._places.items()}
        was = self.network.training
        self.network.eval()
        try:
            with record(self.network, places, lambda name, h: seen[name].append(h)):
                self.network(*batch.given)
        finally:
            self.network.train(was)
        return {name: _width(name, self._places[name], found, len(batch.inputs)) for name, found in seen.items()}


def _width(name: str, site: Site, found: list, B: int) -> int:
    where = f"site {name!r}, the {site.side} of {site.module!r}"
    if not found:
        raise ValueError(
            f"{where}, is not reached in a forward pass: the network does not call that module, or uses its weights"
            " without calling it; name another"
        )
    if len(found) > 1:
        raise ValueError(
            f"{where}, is reached {len(found)} times in one forward pass: name a module that is called once, such"
            " as one before or after it"
        )
    h = found[0]
    if site.layout is None and not (isinstance(h, Tensor) and h.ndim in (2, 3, 4)):
        got = f"shape {tuple(h.shape)}" if isinstance(h, Tensor) else f"a {type(h).__name__}"
        raise ValueError(
            f"{where}: expected tokens (B, T, N), maps (B, C, H, W) or vectors (B, N), got {got}; name a module"
            " inside or give the site a layout"
        )
    h = (site.layout or tokens)(h)
    if h.ndim != 3 or len(h) != B:
        raise ValueError(
            f"{where}: expected activations (images, tokens, nodes) of {B} images, got shape {tuple(h.shape)}; give"
            " the site a layout that makes them so"
        )
    return h.shape[2]
