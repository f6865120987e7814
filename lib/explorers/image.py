"""The live image explorer: which nodes of a site speak for which labels when they see one image."""

import html

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image, ImageOps

from lib import charts
from lib.cct import CCT
from lib.data import decode, normalise, tensor
from lib.probes import Probe


def contributions(network: CCT, probe: Probe, site: str, image: np.ndarray, mean: tuple, std: tuple) -> np.ndarray:
    """W_jn p_n of one image uint8 (H, W, 3): what each node adds to each output of the site's probe, (nodes, K)."""
    x = normalise(tensor(image)[None].to(probe.weight.device), mean, std)
    with torch.no_grad():
        pooled = probe.pool(network.activations(x, [site])[site])[0]
        return (pooled[:, None] * probe.weight.T).cpu().numpy()


class ImageExplorer(widgets.VBox):
    """Pick a test image or upload one; see the probe's answer and the nodes that speak for and against a label.

    Its controls are attributes (`site`, `image`, `label`, `upload`), so that code can drive it; what it shows is in
    `parts` (nodes, K) and `answer` (names of the five labels with the largest fields).
    """

    def __init__(self, run, images):
        self.run, self.images, self.own = run, images, None
        self.network = run.network()
        self.site = widgets.Dropdown(options=run.sites, value=run.sites[-2], description="site")
        self.image = widgets.BoundedIntText(value=0, min=0, max=len(images) - 1, description="image")
        self.upload = widgets.FileUpload(accept="image/*", description="own image")
        options = [("the probe's answer", -1), *((name, i) for i, name in enumerate(charts.named(run.label_names)))]
        self.label = widgets.Dropdown(options=options, description="label")
        self.words, self.picture = widgets.HTML(), widgets.Output()
        controls = [self.site, self.image, self.upload, self.label]
        super().__init__([widgets.HBox(controls, layout={"flex_flow": "wrap"}), self.words, self.picture])
        self.upload.observe(self._uploaded, "value")
        self.image.observe(self._picked, "value")
        for control in (self.site, self.label):
            control.observe(self._update, "value")
        self._update()

    def _uploaded(self, change):
        if not change["new"]:
            return
        file = change["new"][0]
        self.upload.value = ()  # so that the same file can be uploaded again
        try:
            self.show(bytes(file["content"]))
        except ValueError:
            self.words.value = f"{html.escape(file['name'])} is not an image that can be read."

    def _picked(self, change):
        self.own = None
        self._update()

    def show(self, content: bytes):
        """Show an image file of the reader's own, cut to a square of the network's size."""
        side = self.run.definition.network.image_size
        self.own = np.array(ImageOps.fit(Image.fromarray(decode(content)), (side, side)))
        self._update()

    def _update(self, change=None):
        names = charts.named(self.run.label_names)
        shown = self.images.images[self.image.value] if self.own is None else self.own
        site, probe = self.site.value, self.run.probe(self.site.value)
        self.parts = contributions(self.network, probe, site, shown, self.images.mean, self.images.std)
        fields = self.parts.sum(0)
        best = np.argsort(-fields)[:5]
        self.answer = [names[i] for i in best]
        label = best[0] if self.label.value < 0 else self.label.value
        known = "" if self.own is not None else f"Label: {names[self.images.labels[self.image.value]]}. "
        told = ", ".join(f"{names[i]} ({fields[i]:.2f})" for i in best)
        self.words.value = html.escape(f"{known}The probe at {self.site.value} says {told}.")
        self.picture.outputs = ()
        self.picture.append_display_data(charts.speakers(shown, self.parts[:, label], names[label]))
