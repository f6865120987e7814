"""One node's matrix for a front page: it falls into its clusters as the reader moves the threshold."""

from IPython.display import HTML

from lib import charts, snp
from lib.explorers import packing
from lib.explorers.page import script
from lib.system.errors import unknown


def matrix_page(measured, site: str) -> HTML:
    """A site's `lib.snp.median_node`, at a threshold of the reader's choice; works without a kernel.

    measured: as for `lib.explorers.node_page`. ValueError for a site that is not there.
    """
    if site not in measured.readable_sites:
        raise unknown("site", site, measured.readable_sites)
    nodes = measured.nodes(site)
    node = snp.median_node(nodes)
    content = {
        "run": measured.name,
        "labels": charts.base.named(measured.label_names),
        "site": site,
        "node": node,
        "threshold": snp.THRESHOLD,
        "numbers": [packing.packed(values[:, [node]]) for values in (nodes.class_means, nodes.weight)],
    }
    return script("matrix", measured.name, "modusMatrixExplorer", content)
