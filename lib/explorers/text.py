"""The live text explorer: which heads and nodes speak for which labels when the network reads a sentence."""

import html

import ipywidgets as widgets
import numpy as np
import torch

from lib import charts, heads
from lib.data import Sentences
from lib.sites import at, parse
from lib.system.errors import MissingLanguage, UnpublishedWeights

EXAMPLE = "what is my account balance"


def text_explorer(*runs) -> widgets.Widget:
    """The explorer of the first of some runs whose network is at hand; else a line that says what is missing."""
    said = "No run on sentences has a result: <code>make reproduce RUN=clinc150</code> makes one."
    for run in runs:
        try:
            return TextExplorer(run)
        except (MissingLanguage, UnpublishedWeights) as missing:
            said = html.escape(str(missing))
    return widgets.HTML(said)


class TextExplorer(widgets.VBox):
    """Type a sentence; see the probe's answer, who speaks for or against a label, and what a head attends to.

    Its controls are attributes (`text`, `site`, `head`, `label`), so that code can drive it; what it shows is in
    `words` (T tokens), `parts` (nodes, K), `attention` (T, T) of the head, query by key, and `answer` (names of the
    five labels with the largest fields). The sites are those of the heads' nodes.
    """

    def __init__(self, run):
        self.run, self.network = run, run.network()
        self.prepared, self.heads = run.definition.network, run.definition.network.heads
        sites = at(run.sites, "mha")
        self.text = widgets.Text(EXAMPLE, description="sentence", continuous_update=False, layout={"width": "32em"})
        self.site = widgets.Dropdown(options=sites, value=sites[-1], description="site")
        self.head = widgets.Dropdown(options=range(1, self.heads + 1), description="head")
        names = charts.base.named(run.label_names)
        options = [("the probe's answer", -1), *((name, i) for i, name in enumerate(names))]
        self.label = widgets.Dropdown(options=options, description="label")
        self.told, self.picture = widgets.HTML(), widgets.Output()
        controls = [self.text, self.site, self.head, self.label]
        super().__init__([widgets.HBox(controls, layout={"flex_flow": "wrap"}), self.told, self.picture])
        for control in controls:
            control.observe(self._update, "value")
        self._update()

    def _update(self, change=None):
        if not self.text.value.strip():
            self.told.value, self.picture.outputs = "Type a sentence.", ()
            return
        self._read()
        names, fields = charts.base.named(self.run.label_names), self.parts.sum(0)
        best = np.argsort(-fields)[:5]
        self.answer = [names[i] for i in best]
        label = best[0] if self.label.value < 0 else self.label.value
        told = ", ".join(f"{names[i]} ({fields[i]:.2f})" for i in best)
        self.told.value = html.escape(f"The probe at {self.site.value} of {self.run.name} says {told}.")
        of_heads = heads.by_head(self.parts[:, label], self.heads)
        self.picture.outputs = ()
        self.picture.append_display_data(charts.language.sentence(of_heads, self.attention, self.words, names[label]))

    @torch.no_grad()
    def _read(self):
        """What the network makes of the sentence."""
        one = np.array([self.text.value], object)
        things = self.prepared.prepared(Sentences("typed", "", one, np.array([0]), self.run.label_names))
        self.words = self.prepared.words(things.ids[0, : things.lengths[0]])
        ids, _, mask = things.batch(slice(None), self.run.device)
        site, probe = self.site.value, self.run.probe(self.site.value)
        pooled = probe.pool(self.network.activations(ids, [site], mask)[site], mask)[0]
        self.parts = (pooled[:, None] * probe.weight.T).cpu().numpy()
        maps = self.network.attention_maps(ids, mask)[parse(site).encoder - 1]
        self.attention = maps[0, self.head.value - 1].cpu().numpy()
