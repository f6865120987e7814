"""Measures of one network: what charts and explorers ask for, from class means and weights wherever they are kept."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from torch import nn

from lib import measure, snp
from lib.data import ImageSet, readable
from lib.probes import Probe
from lib.recipes import ProbeRecipe
from lib.sites import parse
from lib.system.errors import unknown
from lib.training.probes import train_probes


class Measures:
    """Base of what has `sites`, `class_means(site, split, silencing)` and `weight(site)`, both (K, nodes)."""

    sites: list[str]

    @property
    def readable_sites(self) -> list[str]:
        """Those of the sites whose nodes can be read: all, where nothing was left out for its size."""
        return list(self.sites)

    def nodes(self, site: str, split: str = "test", silencing: str = "readout") -> snp.Nodes:
        """The nodes of a site; every measure takes them in place of their fields, and needs K times less memory."""
        return snp.Nodes(self.class_means(site, split, silencing), self.weight(site))

    def fields(self, site: str, split: str = "test", silencing: str = "readout") -> np.ndarray:
        """V_n of every node of a site, (nodes, K, K)."""
        return self.nodes(site, split, silencing).fields()

    def statistics(
        self, threshold: float = snp.THRESHOLD, silencing: str = "readout", sites: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """`snp.site_statistics` of some sites (default: all readable) on test images, one row each, with its place."""
        found = {site: self.nodes(site, "test", silencing) for site in sites or self.readable_sites}
        return pd.DataFrame(
            {"site": site, **parse(site)._asdict(), **snp.site_statistics(nodes, threshold)}
            for site, nodes in found.items()
        )

    def _check_site(self, site: str):
        if site not in self.sites:
            raise unknown("site", site, self.sites)


class Found(Measures):
    """What a forward pass found of a network's probes, by silencing convention."""

    def __init__(self, probes: Mapping[str, Probe], measured: Mapping[str, measure.Measured]):
        self.probes, self.measured, self.sites = probes, measured, list(probes)

    def weight(self, site: str) -> np.ndarray:
        """W of a site's probe, (K, nodes)."""
        self._check_site(site)
        return self.probes[site].weight.detach().cpu().numpy()

    def class_means(self, site: str, split: str = "test", silencing: str = "readout") -> np.ndarray:
        """Mean pooled value of each node over the images of each label, (K, nodes)."""
        self._check_site(site)
        return self.measured[silencing].class_means[site]


class Study(Measures):
    """Trains a probe at each site on one image set and measures class means on another; nothing is stored.

    network: a `lib.cct.CCT`, a `lib.adapt.Adapted` or whatever else has `sites`, `site` and `width`; it stays as
    it is. In all arrays K labels come before nodes, as in `lib.runs.Run`. ValueError for sites with names of another
    form than "<encoder>.<place>", or sets with other labels than each other.
    """

    def __init__(self, network: nn.Module, train: ImageSet, test: ImageSet, recipe: ProbeRecipe, seed: int = 0):
        self.network, self.test, self.name = network, test, test.name
        self.sites, self.label_names = list(network.sites), readable(train.label_names)
        for site in self.sites:
            parse(site)
        if list(train.label_names) != list(test.label_names):
            raise ValueError("the images for training and for measuring must have the same labels in the same order")
        self.probes, curve = train_probes(network, self.sites, train, recipe, seed)
        self.curve = pd.DataFrame(curve)  # one row an epoch and site
        self._measured: dict[str, measure.Measured] = {}
        self.measured()

    def measured(self, silencing: str = "readout") -> measure.Measured:
        """What a forward pass over the test images found, made once for each silencing convention."""
        if silencing not in self._measured:
            self._measured[silencing] = measure.measure(self.network, self.probes, self.test, silencing)
        return self._measured[silencing]

    def weight(self, site: str) -> np.ndarray:
        """W of a site's probe, (K, nodes)."""
        self._check_site(site)
        return self.probes[site].weight.detach().cpu().numpy().copy()

    def class_means(self, site: str, split: str = "test", silencing: str = "readout") -> np.ndarray:
        """Mean pooled value of each node over the test images of each label, (K, nodes)."""
        if split != "test":
            raise unknown("split", split, ("test",))
        self._check_site(site)
        return self.measured(silencing).class_means[site].copy()

    def accuracy(self, site: str) -> float:
        """Top-1 accuracy of a site's probe on the test images."""
        self._check_site(site)
        return self.measured().accuracy(site)

    def statistics(
        self, threshold: float = snp.THRESHOLD, silencing: str = "readout", sites: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """As `Measures.statistics`, with the accuracy of each site's probe."""
        table = super().statistics(threshold, silencing, sites)
        return table.assign(accuracy=table["site"].map(self.accuracy))
