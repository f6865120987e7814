"""The node explorer, twice over the same measures: in the page (no kernel) and live in Jupyter.

The page's version cannot be a Vega chart: the greedy clusters at a threshold of the reader's choice are a loop, which
its expressions do not have. It is a small script that gets every node's class means and weights and forms the rest.
"""

import html

import ipywidgets as widgets
import numpy as np
from IPython.display import HTML

from lib import charts, snp
from lib.explorers import packing
from lib.explorers.page import script
from lib.measure import SILENCING
from lib.system.errors import unknown
from lib.system.words import count

MOST = 3_000_000  # bytes of numbers that a page may hold


def node_page(measured, site: str | None = None, node: int = 0) -> HTML:
    """Every node of every site of a run, with a threshold of the reader's choice; works without a kernel.

    measured: a run, a `lib.study.Study` or other `lib.study.Measures`; site, node: where it opens (default: the last
    feed-forward block's output). Of a published run the page holds that site alone; the others, and other runs, are
    loaded from beside it when they are chosen, see `lib.explorers.parts`. Of anything else it holds as many sites as
    fit into `MOST` bytes. Raises ValueError for a site or node that is not there.
    """
    shown = content(measured, site, node)
    site, sites = shown["site"], list(shown["sites"])
    here = [site] if shown["published"] else [site, *(s for s in sites if s != site)]
    room, packed = MOST, {}
    for each in here:
        packed[each] = numbers(measured, each)
        room -= sum(len(part["q"]) for part in packed[each])
        if room < 0 and each != site:
            del packed[each]
            break
    return script("node", measured.name, "modusNodeExplorer", shown | {"parts": packed})


def content(measured, site: str | None = None, node: int = 0) -> dict:
    """What the page is told of a network, its numbers apart: labels, the nodes of each site, and where it opens."""
    site = opening(measured, site, node)
    return {
        "run": measured.name,
        "published": getattr(measured, "published", False),
        "labels": charts.base.named(measured.label_names),
        "sites": {name: measured.weight(name).shape[1] for name in measured.readable_sites},
        "site": site,
        "node": int(node),
        "threshold": snp.THRESHOLD,
    }


def opening(measured, site: str | None, node: int) -> str:
    """The site where an explorer opens; ValueError for a site or node that is not there."""
    sites = list(measured.readable_sites)
    site = site or sites[-2:][0]
    if site not in sites:
        raise unknown("site", site, sites)
    nodes = measured.weight(site).shape[1]
    if not 0 <= node < nodes:
        raise ValueError(f"site {site} has the nodes 0 to {nodes - 1}, got {node}")
    return site


def numbers(measured, site: str) -> list[dict]:
    """Class means and weights of a site, packed.

    Over the thresholds that the explorer offers, one node in a thousand then has other clusters
    (tests/test_page_explorers.py); of 8 bits instead of 16, every fourth.
    """
    return [packing.packed(measured.class_means(site)), packing.packed(measured.weight(site))]


class NodeExplorer(widgets.VBox):
    """The live explorer: any site, node and threshold, either silencing convention, any order of the clustering.

    Its controls are attributes (`site`, `node`, `threshold`, `silencing`, `order`), so that code can drive it; what it
    shows is in `clusters` (lists of label names) and `statistics` (as in `snp.node_statistics`). It opens at a site and
    node as `node_page` does.
    """

    def __init__(self, run, site: str | None = None, node: int = 0):
        self.run, site = run, opening(run, site, node)
        self.site = widgets.Dropdown(options=run.readable_sites, value=site, description="site")
        self.node = widgets.BoundedIntText(
            value=node, min=0, max=run.weight(self.site.value).shape[1] - 1, description="node"
        )
        self.threshold = widgets.FloatSlider(value=snp.THRESHOLD, min=0, max=0.95, step=0.05, description="threshold")
        self.silencing = widgets.Dropdown(options=SILENCING, description="silencing")
        self.order = widgets.BoundedIntText(value=0, min=0, max=999, description="order seed", tooltip="0: label order")
        self.picture, self.words = widgets.Output(), widgets.HTML()
        controls = [self.site, self.node, self.threshold, self.silencing, self.order]
        super().__init__([widgets.HBox(controls, layout={"flex_flow": "wrap"}), self.words, self.picture])
        for control in controls:
            control.observe(self._update, "value")
        self._update()

    def _update(self, change=None):
        if change and change["owner"] is self.site:
            self.node.max = self.run.weight(self.site.value).shape[1] - 1
        labels, K = charts.base.named(self.run.label_names), len(self.run.label_names)
        node = self.run.nodes(self.site.value, "test", self.silencing.value)[[self.node.value]]
        order = np.random.default_rng(self.order.value).permutation(K) if self.order.value else None
        ((ones, index),) = snp.clusters(node, self.threshold.value, order)
        self.statistics = {name: int(of_node[0]) for name, of_node in snp.node_statistics(ones, index).items()}
        self.clusters = [[labels[i] for i in np.flatnonzero(index[0] == c)] for c in range(index.max() + 1)]
        none = "none" if ones.any() else "none: this node is silent"
        found = html.escape("; ".join(", ".join(c) for c in self.clusters) or none)
        self.words.value = (
            f"<b>{count(len(self.clusters), 'cluster')}</b>: {found}. Noise: {self.statistics['noise']} ones."
        )
        self.picture.outputs = ()
        self.picture.append_display_data(
            charts.nodes.node_steps(node.fields()[0], labels, self.threshold.value, index[0])
        )
