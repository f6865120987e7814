"""What the charts and the node explorers ask a run for, from any measurable network, kept in memory."""

import numpy as np
import pandas as pd
from torch import nn

from lib import measure, snp
from lib.data import ImageSet
from lib.probes import ProbeRecipe, train_probes
from lib.sited import Sited
from lib.system.errors import unknown


class Study(Sited):
    """Trains a probe at each site on one image set and measures class means on another; nothing is stored.

    network: a `lib.cct.CCT`, a `lib.adapt.Adapted` or whatever else has `sites`, `site` and `width`. Training probes
    freezes it. In all arrays K labels come before nodes, as in `lib.runs.Run`.
    """

    def __init__(self, network: nn.Module, train: ImageSet, test: ImageSet, recipe: ProbeRecipe, seed: int = 0):
        self.network, self.test, self.name = network, test, test.name
        self.sites, self.label_names = list(network.sites), list(train.label_names)
        if self.label_names != list(test.label_names):
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
        return self.probes[site].weight.detach().cpu().numpy()

    def class_means(self, site: str, split: str = "test", silencing: str = "readout") -> np.ndarray:
        """Mean pooled value of each node over the test images of each label, (K, nodes)."""
        if split != "test":
            raise unknown("split", split, ("test",))
        self._check_site(site)
        return self.measured(silencing).class_means[site]

    def accuracy(self, site: str) -> float:
        """Top-1 accuracy of a site's probe on the test images."""
        self._check_site(site)
        return self.measured().accuracy(site)

    def statistics(self, threshold: float = snp.THRESHOLD, silencing: str = "readout") -> pd.DataFrame:
        """`snp.site_statistics` of every site and the accuracy of its probe, one row each."""
        return super().statistics(threshold, silencing).assign(accuracy=[self.accuracy(s) for s in self.sites])
