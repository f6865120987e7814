"""The node explorer, twice over the same measures: in the page (no kernel) and live in Jupyter.

The page's version cannot be a Vega chart: the greedy clusters at a threshold of the reader's choice are a loop, which
its expressions do not have. It is a small script that gets every node's class means and weights and forms the rest.
"""

import base64
import html

import ipywidgets as widgets
import numpy as np
from IPython.display import HTML

from lib import charts, snp
from lib.explorers.page import script
from lib.measure import SILENCING
from lib.sites import at, parse


def node_page(run, site: str | None = None) -> HTML:
    """Every node of every site of a run, with a threshold of the reader's choice; works without a kernel.

    Class means and weights travel as 16-bit integers, each node with its own scale: 4 bytes a node and label. With a
    `site` those of its place alone come along, for networks that are too much for a page.
    """
    shown = at(run.readable_sites, parse(site).place) if site else run.readable_sites
    sites = {each: [_packed(run.class_means(each)), _packed(run.weight(each))] for each in shown}
    content = {"labels": charts.base.named(run.label_names), "sites": sites, "threshold": snp.THRESHOLD}
    return script("node", run.name, "modusNodeExplorer", content)


def _packed(values: np.ndarray) -> dict:
    """(K, nodes) -> base64 of int16 (nodes, K), little endian, and the unit of each node."""
    unit = np.maximum(np.abs(values).max(0), 1e-30) / 32767
    numbers = np.rint(values / unit).astype("<i2").T
    return {"q": base64.b64encode(numbers.tobytes()).decode(), "unit": [float(f"{u:.5g}") for u in unit]}


def unpacked(packed: dict) -> np.ndarray:
    """The inverse of the page's packing, up to its rounding: (K, nodes)."""
    numbers = np.frombuffer(base64.b64decode(packed["q"]), "<i2")
    return numbers.reshape(len(packed["unit"]), -1).T * np.array(packed["unit"])


class NodeExplorer(widgets.VBox):
    """The live explorer: any site, node and threshold, either silencing convention, any order of the clustering.

    Its controls are attributes (`site`, `node`, `threshold`, `silencing`, `order`), so that code can drive it; what it
    shows is in `clusters` (lists of label names) and `statistics` (as in `snp.node_statistics`).
    """

    def __init__(self, run):
        self.run = run
        sites = run.readable_sites
        self.site = widgets.Dropdown(options=sites, value=sites[-2:][0], description="site")
        self.node = widgets.BoundedIntText(
            value=0, min=0, max=run.weight(self.site.value).shape[1] - 1, description="node"
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
        self.words.value = f"<b>{len(self.clusters)} clusters</b>: {found}. Noise: {self.statistics['noise']} ones."
        self.picture.outputs = ()
        self.picture.append_display_data(
            charts.nodes.node_steps(node.fields()[0], labels, self.threshold.value, index[0])
        )
