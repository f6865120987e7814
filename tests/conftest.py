"""What several test files need: small networks and image sets, made in milliseconds."""

import contextlib
import shutil

import numpy as np
import pytest
import torch
from hypothesis import settings

from lib import cct, data, runs
from lib.data import ImageSet
from lib.study import Measures

torch.set_num_threads(1)
settings.register_profile("modus", deadline=None)  # a busy machine makes no test wrong
settings.load_profile("modus")
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

STRANGE = ["it's", '"', "\\", "<unk>", "<!--<script>", "</script>", "<img src=x onerror=alert()>", "&lt;", "é \u2028"]

CONFIG = """
data = "tiny"
[network]
classes = 5
image_size = 8
width = 8
depth = 2
heads = 2
ff_width = 12
stem_widths = [8]
[training]
epochs = 1
warmup_epochs = 0.5
batch = 20
[training.augmentation]
shift = 1
[probes]
epochs = 1
batch = 20
shift = 1
[heads]
permutations = 20
rotations = 5
regroupings = 5
[andc]
thresholds = [0.2, 0.5]
few_thresholds = [0.3]
retrained_thresholds = [0.3]
draws = 1
[scratch]
thresholds = [0.3]
methods = ["andc"]
[schedule]
rates = [0.1, 0.3]
trial_epochs = [1]
[retraining]
thresholds = [0.3]
epochs = [1, 2]
latency_rounds = 1
"""


class FewNodes(Measures):
    """What an explorer asks a run for, from random numbers: 2 sites, 3 nodes, 6 labels."""

    name = "few"
    sites = ("1.mha", "1.ff")
    label_names = tuple("abcdef")

    def class_means(self, site, split="test", silencing="readout"):
        return np.random.default_rng([self.sites.index(site), silencing == "input"]).normal(size=(6, 3))

    def weight(self, site):
        return self.class_means(site) + 0.1 * np.random.default_rng(5).normal(size=(6, 3))


def tiny_config(**changes) -> cct.Config:
    """A CCT small enough to train in a test: 8 px, 2 encoders, 2 heads, width 8, 5 labels."""
    small = {"classes": 5, "image_size": 8, "width": 8, "depth": 2, "heads": 2, "ff_width": 12, "stem_widths": (8,)}
    return cct.Config(**small | changes)


def shaped_nodes(classes: int, heads: int) -> np.ndarray:
    """Nodes that break the symmetry where their heads' subspaces do not: class means, and weights alike (2, K, nodes).

    Each recognises one label: in each head four small ones each label of their own, and one large each other label.
    """
    columns = []
    for head in range(heads):
        for label in range(classes):
            own = label * heads // classes == head
            columns += [np.eye(classes)[label]] * 4 if own else [3 * np.eye(classes)[label]]
    return np.stack([np.array(columns).T] * 2)


def tiny_images(n: int = 60, classes: int = 5, split: str = "train", size: int = 8) -> ImageSet:
    """Random images with balanced labels; the label shows in the brightness, so that there is something to learn."""
    random = np.random.default_rng(0 if split == "train" else 1)
    labels = np.arange(n) % classes
    images = random.integers(0, 100, (n, size, size, 3)) + 30 * labels[:, None, None, None]
    return ImageSet("tiny", split, images.astype(np.uint8), labels, [f"label {i}" for i in range(classes)])


@pytest.fixture
def network() -> cct.CCT:
    torch.manual_seed(0)
    return cct.CCT(tiny_config()).eval()


@pytest.fixture
def images() -> ImageSet:
    return tiny_images()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a run "tiny", which is defined as CONFIG says and has nothing else."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.setattr(runs.run, "PUBLISHED", tmp_path)
    monkeypatch.delenv("MODUS_RUNS", raising=False)
    monkeypatch.setattr(data, "load", lambda name, split: tiny_images(split=split))
    return tmp_path / "tiny"


@pytest.fixture(scope="session")
def browser():
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with (
        sync_api.sync_playwright() as play,
        contextlib.closing(play.chromium.launch(executable_path=executable, args=FLAGS)) as started,
    ):
        yield started
