"""What follows from the class means and the read-out weights of named sites, wherever they are kept."""

import numpy as np
import pandas as pd

from lib import snp
from lib.system.errors import unknown


class Sited:
    """Base of what has `sites`, `class_means(site, split, silencing)` and `weight(site)`, both (K, nodes)."""

    sites: list[str]

    def nodes(self, site: str, split: str = "test", silencing: str = "readout") -> snp.Nodes:
        """The nodes of a site; every measure takes them in place of their fields, and needs K times less memory."""
        return snp.Nodes(self.class_means(site, split, silencing), self.weight(site))

    def fields(self, site: str, split: str = "test", silencing: str = "readout") -> np.ndarray:
        """V_n of every node of a site, (nodes, K, K)."""
        return self.nodes(site, split, silencing).fields()

    def statistics(self, threshold: float = snp.THRESHOLD, silencing: str = "readout") -> pd.DataFrame:
        """`snp.site_statistics` of every site, one row each, from the test images."""
        return pd.DataFrame(snp.summarise({s: self.nodes(s, "test", silencing) for s in self.sites}, threshold))

    def _check_site(self, site: str):
        if site not in self.sites:
            raise unknown("site", site, self.sites)
