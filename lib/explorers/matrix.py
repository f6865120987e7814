"""One node's matrix for a front page: it falls into its clusters as the reader moves the threshold."""

import numpy as np
from IPython.display import HTML

from lib import charts, snp
from lib.explorers import packing
from lib.explorers.page import script
from lib.system.errors import unknown


def matrix_page(measured, site: str) -> HTML:
    """The node with the median noise of a site, at a threshold of the reader's choice; works without a kernel.

    measured: as for `lib.explorers.node_page`. ValueError for a site that is not there.
    """
    if site not in measured.readable_sites:
        raise unknown("site", site, measured.readable_sites)
    nodes = measured.nodes(site)
    noise = np.concatenate([snp.node_statistics(*part)["noise"] for part in snp.clusters(nodes)])
    node = int(np.argsort(noise, kind="stable")[len(noise) // 2])
    content = {
        "run": measured.name,
        "labels": charts.base.named(measured.label_names),
        "site": site,
        "node": node,
        "threshold": snp.THRESHOLD,
        "numbers": [packing.packed(values[:, [node]]) for values in (nodes.class_means, nodes.weight)],
    }
    return script("matrix", measured.name, "modusMatrixExplorer", content)
