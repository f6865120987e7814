"""The head explorer, twice over the same measures: in the page (no kernel) and live in Jupyter."""

import html

import ipywidgets as widgets
import numpy as np
from IPython.display import HTML

from lib import charts, heads, snp
from lib.data import normalise, tensor
from lib.experiments import heads_tables
from lib.explorers import packing
from lib.explorers.page import script
from lib.system.errors import unknown


def head_page(run, encoder: int | None = None, head: int | None = None, label: int | None = None) -> HTML:
    """Heads by labels for every encoder of a run, with a threshold of the reader's choice; works without a kernel.

    encoder, head (from 1), label (from 0): where it opens, by default where one head is furthest ahead of the others.
    Other published runs are loaded from beside the page when they are chosen, see `lib.explorers.parts`.
    """
    return script("head", run.name, "modusHeadExplorer", content(run, encoder, head, label))


def content(run, encoder: int | None = None, head: int | None = None, label: int | None = None) -> dict:
    """What the page is told of a run's heads.

    Each node's diagonal travels as one byte a label, and each head's accuracies as integers in thousandths.
    """
    table, encoders = run.table("heads"), []
    for number, part in table.groupby("encoder"):
        grid = {c: heads_tables.by_head(part, c) for c in ("accuracy", "damage", "train_accuracy")}
        encoders.append(
            {
                "diagonal": packing.diagonal(run.nodes(f"{number}.mha")),
                "accuracy": np.rint(1000 * grid["accuracy"]).astype(int).tolist(),
                "damage": np.rint(1000 * grid["damage"]).astype(int).tolist(),
                "expert": heads.owners(grid["train_accuracy"]).tolist(),
            }
        )
    count, depth, labels = int(table["head"].max()), len(encoders), charts.base.named(run.label_names)
    encoder = encoder or depth
    for name, value, known in (("encoder", encoder, range(1, depth + 1)), ("head", head, range(1, count + 1))):
        if value is not None and value not in known:
            raise unknown(name, value, known)
    if label is not None and not 0 <= label < len(labels):
        raise ValueError(f"labels count from 0 to {len(labels) - 1}, got {label}")
    counts = heads.diagonal_counts(run.nodes(f"{encoder}.mha"), count)
    ahead = counts - counts.mean(0)
    h = head - 1 if head else int(ahead.max(1).argmax() if label is None else ahead[:, label].argmax())
    return {
        "run": run.name,
        "published": getattr(run, "published", False),
        "labels": labels,
        "superclasses": run.superclasses,
        "colours": charts.palette.colours(count),
        "encoders": encoders,
        "threshold": snp.THRESHOLD,
        "open": {"encoder": encoder - 1, "head": h, "label": int(ahead[h].argmax()) if label is None else label},
    }


class HeadExplorer(widgets.VBox):
    """The live explorer: any encoder, threshold and label, the order of heads by label, attention maps of an image.

    Its controls are attributes (`encoder`, `head`, `label`, `threshold`, `image`), so that code can drive it; what it
    shows is in `counts` (heads, K) and `attention` (side, side), one value a token; None without images.
    """

    def __init__(self, run, images=None):
        self.run, self.images = run, images
        self.heads = run.definition.network.heads
        depth = run.definition.network.depth
        self.encoder = widgets.Dropdown(options=range(1, depth + 1), value=depth, description="encoder")
        self.head = widgets.Dropdown(options=range(1, self.heads + 1), description="head")
        labels = [(n, i) for i, n in enumerate(charts.base.named(run.label_names))]
        self.label = widgets.Dropdown(options=labels, description="label")
        self.threshold = widgets.FloatSlider(value=snp.THRESHOLD, min=0, max=0.95, step=0.05, description="threshold")
        self.image = widgets.BoundedIntText(value=0, min=0, max=99, description="image")
        self.words, self.picture = widgets.HTML(), widgets.Output()
        controls = [self.encoder, self.head, self.label, self.threshold]
        controls += [self.image] if images is not None else []
        self.network = run.network() if images is not None else None
        super().__init__([widgets.HBox(controls, layout={"flex_flow": "wrap"}), self.words, self.picture])
        for control in controls:
            control.observe(self._update, "value")
        self._update()

    def _update(self, change=None):
        site, h, label = f"{self.encoder.value}.mha", self.head.value - 1, self.label.value
        self.counts = heads.diagonal_counts(self.run.nodes(site), self.heads, self.threshold.value)
        share, names = heads.shares(self.counts.astype(float)), charts.base.named(self.run.label_names)
        best = [i for i in np.argsort(-np.nan_to_num(share[h])) if self.counts[h, i]][:8]
        own = ", ".join(f"{names[i]} ({self.counts[h, i]} of {self.counts[:, i].sum()})" for i in best)
        by_head = ", ".join(f"head {k + 1}: {n}" for k, n in enumerate(self.counts[:, label]))
        self.words.value = (
            f"Nodes that recognise <b>{html.escape(names[label])}</b>: {by_head}."
            f" <b>Head {h + 1}</b>, largest shares: {html.escape(own) or 'none'}."
        )
        self.picture.outputs = ()
        self.picture.append_display_data(charts.heads.head_map(self.counts, names, site))
        self.attention = self._attention(h, label)
        if self.attention is not None:
            self.picture.append_display_data(charts.heads.attention(self._image(label), self.attention))

    def _image(self, label: int) -> np.ndarray:
        of_label = np.flatnonzero(self.images.labels == label)
        return self.images.images[of_label[self.image.value % len(of_label)]]

    def _attention(self, head: int, label: int) -> np.ndarray | None:
        """Attention that each token receives from all tokens on average, as a square."""
        if self.images is None:
            return None
        image = tensor(self._image(label))[None].to(self.run.device)
        maps = self.network.attention_maps(normalise(image, self.images.mean, self.images.std))[self.encoder.value - 1]
        side = self.run.definition.network.grid
        return maps[0, head].mean(0).reshape(side, side).cpu().numpy()
