"""What networks of encoders with a pooling read-out share: the sites of their nodes, the layers that ANDC prunes."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from lib.sites import Layer, Site, parse, record
from lib.system.errors import unknown

READOUT = "readout"  # the site of the network's own read-out: what its sequence pooling averages


def sites(depth: int, places: Iterable[str]) -> list[str]:
    """Names of the sites of some encoders, which count from 1; places in the order of the data flow."""
    return [f"{e}.{place}" for e in range(1, depth + 1) for place in places]


class Encoders(nn.Module):
    """Base of a network with `config` (`sites`, `width`, `ff_width`), `encoders`, `pool` and `classifier`."""

    places: ClassVar[Mapping[str, tuple[str, str]]]  # place in an encoder -> (module, which side of it)
    linear: ClassVar[tuple[str, str]]  # the two fully connected layers of an encoder
    readout: ClassVar[tuple[str, ...]]  # the modules behind the encoders

    @property
    def sites(self) -> list[str]:
        """Names of all sites, from `"1.mha"` to the last encoder's `out`."""
        return self.config.sites

    @property
    def layers(self) -> dict[str, Layer]:
        """The fully connected layers that ANDC prunes: "1.linear1", "1.linear2" to the last encoder's, "classifier"."""
        found = {}
        for e in range(1, len(self.encoders) + 1):
            first, second = (f"encoders.{e - 1}.{name}" for name in self.linear)
            found[f"{e}.linear1"] = Layer(first, f"{e}.ff_in", f"{e}.ff_hidden")
            found[f"{e}.linear2"] = Layer(second, f"{e}.ff_hidden", f"{e}.ff", f"{e}.out")
        return found | {"classifier": Layer("classifier", READOUT, None)}

    def site(self, name: str) -> Site:
        """Where the activations of a site are to be had; ValueError if there is no such site."""
        if name == READOUT:
            return self.read_at
        if name not in self.sites:
            raise unknown("site", name, [*self.sites, READOUT])
        encoder, place = parse(name)
        module, side = self.places[place]
        return Site(f"encoders.{encoder - 1}.{module}".rstrip("."), side)

    @property
    def read_at(self) -> Site:
        """What the read-out pools."""
        return Site(f"encoders.{len(self.encoders) - 1}", "output")

    def width(self, site: str) -> int:
        """Number of nodes of a site."""
        self.site(site)
        hidden = site != READOUT and parse(site).place == "ff_hidden"
        return self.config.ff_width if hidden else self.config.width

    def read(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, K) by sequence pooling of tokens (B, T, N); mask: bool (B, T), false at padding."""
        score = self.pool(x)  # (B, T, 1)
        weights = (score if mask is None else score.masked_fill(~mask.unsqueeze(2), -torch.inf)).softmax(1)
        return self.classifier((weights * x).sum(1))

    @torch.no_grad()
    def activations(self, inputs: Tensor, sites: Iterable[str], *mask: Tensor) -> dict[str, Tensor]:
        """What the nodes of some sites do: {site: (B, T, nodes)}. Nothing is recorded in any other forward pass."""
        found: dict[str, Tensor] = {}
        with record(self, {name: self.site(name) for name in sites}, found.__setitem__):
            self(inputs, *mask)
        return found


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention weights (B, H, T, T) of queries and keys (B, H, T, N/H); mask: bool (B, T), false at padding.

    Each row sums to one, but for those of padding, which are zero.
    """
    score = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
    if mask is None:
        return score.softmax(-1)
    return score.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(-1) * mask[:, None, :, None]
