"""Small pictures of matrices: what is in them is what the measure says."""

import base64
import io

import numpy as np
from PIL import Image

from lib.charts import matrices, nodes, pictures
from lib.charts.base import rgba
from lib.study import Measures


class Made(Measures):
    sites = ("1.mha", "2.mha")

    def class_means(self, site, split="test", silencing="readout"):
        return np.array([[1.0, -1.0], [0.6, -1.0], [0.5, -1.0], [-0.4, -1.0]])

    def weight(self, site):
        return np.array([[1.0, 1.0], [0.7, 1.0], [0.2, 1.0], [-0.9, 1.0]])


def pixels(row: dict) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(row["url"].partition(",")[2]))))


def rows(chart) -> list[dict]:
    return chart.data.to_dict("records")


def test_the_median_node_is_drawn_as_it_is_and_with_its_clusters_first():
    found = [row for row in rows(matrices.median_nodes(Made(), "mha")) if row["encoder"] == "encoder 2"]
    assert [row["order"] for row in found] == ["labels in their order", "clusters first", "labels shuffled"]
    assert [found[0][name] for name in ("node", "clusters", "labels", "noise")] == [0, 2, 3, 2]  # the other is silent
    signal, noise = (rgba(colour) for colour in (matrices.SIGNAL, matrices.NOISE))
    drawn = pixels(found[0])
    assert [tuple(cell) for cell in np.argwhere((drawn == signal).all(2))] == [(0, 0), (0, 1), (1, 0), (1, 1), (3, 3)]
    assert [tuple(cell) for cell in np.argwhere((drawn == noise).all(2))] == [(2, 0), (2, 1)]
    assert (drawn[..., 3] > 0).sum() == 7


def test_images_of_a_label_stay_together_and_labels_that_look_alike_are_named():
    images = np.zeros((6, 2, 2, 3), np.uint8)
    page = pictures.sheet(images, list("IIllcc")).data
    assert page.count("<figure") == 3 and page.count("<img") == 6
    for caption in ("I (capital i)", "l (small L)", "c"):
        assert f"<figcaption>{caption}</figcaption>" in page
    page = pictures.sheet(images, list("Iaabbc")).data
    assert page.count("<figure") == 6 and "<figcaption>I</figcaption>" in page


def test_a_matrix_shades_what_exceeds_a_threshold():
    values = np.array([[1.0, 0.29], [-1.5, 0.31]])
    scale = nodes.matrix(values, ["a", "b"], "t", above=0.3).to_dict()["encoding"]["color"]["scale"]
    assert scale["domain"][1] == 0.3 < scale["domain"][2] < 0.31 and scale["domain"][-1] == 1.0
    assert scale["range"][1].endswith(", 0)") and not scale["range"][2].endswith(", 0)")


def test_a_head_dims_what_it_does_not_look_at():
    image = np.full((4, 4, 3), 200, np.uint8)
    seen = pictures.dimmed(image, np.array([[0.5, 0.0], [0.0, 0.0]]))
    assert seen[0, 0, 0] == 200 and seen[3, 3, 0] == round(200 * pictures.DIMMED)
    page = pictures.attended(image[None], ["<a>"], np.ones((1, 2, 2, 2))).data
    assert page.count("<img") == 3 and "&lt;a&gt;, as head 2 attends to it" in page and "<a>" not in page
