"""The files of a run: what is in each, written and read here and nowhere else.

network.safetensors  the trained network; the read-out alone, where only that was trained on a pretrained network
probes.safetensors   "<site>/gate", "<site>/bias", "<site>/weight" of every site's probe
fields.safetensors   "<split>/<silencing>/<site>": class means (K, nodes); "<split>/accuracy/<site>": (K,)
readout.safetensors  "class_means", "weight" (K, nodes) of the network's own read-out, over the training images
cnn.safetensors      the CNN that was trained beside the network
<table>.csv          one of `TABLES`
run.json             how each stage was made, see `lib.runs.store`

Tensors are in several files where they are large, see `files.write_parts`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib import measure
from lib.andc import Nodes
from lib.cnn import CNN
from lib.encoders import Encoders
from lib.probes import Probe
from lib.runs.definition import Definition
from lib.study import Measures
from lib.system import device, files
from lib.system.errors import UnpublishedWeights, unknown
from lib.system.files import LARGEST_FILE

TABLES = {  # name of a table -> the stage that makes it
    "training": "train",
    "probe_training": "probes",
    "probes": "fields",
    "heads": "heads",
    "heads_encoders": "heads",
    "heads_cooperation": "heads",
    "andc": "andc",
    "andc_labels": "andc",
    "andc_cost": "andc",
    "andc_latency": "andc",
    "scratch": "scratch",
    "controls": "controls",
    "rates": "rates",
    "retraining": "retraining",
    "retraining_labels": "retraining",
    "retraining_cost": "retraining",
    "augmentation": "augmentation",
    "trials": "trials",
    "cnn": "cnn",
}
WITH_EMPTY_TEXT = ("andc", "scratch", "controls")  # tables in which an empty field is an empty text


class Results(Measures):
    """What the stages of a run made, in a folder. Those that write return the names of their files."""

    def __init__(self, folder: Path, definition: Definition):
        self.folder, self.definition = folder, definition
        self.device = device.default()
        self.begun: set[Path] = set()  # hidden files that are dropped when results are stored

    def require(self, stage: str):
        """Called before what a stage made is read; here nothing happens: it is there, or a FileNotFoundError comes."""

    @property
    def sites(self) -> list[str]:
        return self.definition.network.sites

    def build(self) -> Encoders:
        """A new network of the run's configuration, at random weights."""
        return self.definition.network.build()

    def initial(self) -> Encoders:
        """The network with which its training begins: of pretrained weights, where the configuration says so."""
        return self.definition.network.initial()

    # ---- the network and its probes

    def network(self) -> Encoders:
        """The trained network, in evaluation mode; UnpublishedWeights where its weights are not at hand."""
        self.require("train")
        if not self.definition.publishes_weights and not files.exists(self.folder / "network.safetensors"):
            raise UnpublishedWeights(self.folder.name)
        return self._loaded(self.initial() if self.definition.frozen else self.build(), "network.safetensors")

    def cnn(self) -> CNN:
        """The trained CNN, in evaluation mode."""
        self.require("cnn")
        recipe = self.definition.cnn
        return self._loaded(CNN(self.definition.network.classes, recipe.widths, recipe.pools), "cnn.safetensors")

    def write_network(self, network: nn.Module, name: str = "network") -> list[str]:
        tensors = network.state_dict()
        if self.definition.frozen and name == "network":
            learnt = tuple(f"{module}." for module in network.readout)
            tensors = {key: value for key, value in tensors.items() if key.startswith(learnt)}
        whole = name == "network" and not self.definition.publishes_weights
        return files.write_parts(self.folder / f"{name}.safetensors", tensors, sys.maxsize if whole else LARGEST_FILE)

    def _loaded(self, network: nn.Module, name: str):
        network.load_state_dict(network.state_dict() | files.read_parts(self.folder / name))
        return network.eval().to(self.device)

    def probe(self, site: str) -> Probe:
        """The trained probe of a site."""
        return self.probes([site])[site]

    def probes(self, sites: list[str] | None = None) -> dict[str, Probe]:
        """Trained probes by site (default: all)."""
        self.require("probes")
        tensors = files.read_parts(self.folder / "probes.safetensors")
        found = {}
        for site in sites or self.sites:
            self._check_site(site)
            weight = tensors[f"{site}/weight"]
            found[site] = Probe(weight.shape[1], weight.shape[0]).to(self.device)
            found[site].load_state_dict({k: tensors[f"{site}/{k}"] for k in ("gate", "bias", "weight")})
        return found

    def write_probes(self, probes: Mapping[str, Probe]) -> list[str]:
        tensors = {f"{site}/{name}": t for site, probe in probes.items() for name, t in probe.state_dict().items()}
        return self._write("probes.safetensors", tensors)

    def weight(self, site: str) -> np.ndarray:
        """W of a site's probe, (K, nodes)."""
        self._check_site(site)
        self.require("probes")
        return self._read("probes.safetensors", f"{site}/weight")

    # ---- what was measured

    def class_means(self, site: str, split: str = "test", silencing: str = "readout") -> np.ndarray:
        """Mean pooled value of each node over the images of each label, (K, nodes)."""
        self._check_site(site)
        if split not in ("train", "test"):
            raise unknown("split", split, ("train", "test"))
        if silencing not in measure.SILENCING:
            raise unknown("silencing convention", silencing, measure.SILENCING)
        if (split, silencing) == ("train", "input"):
            raise ValueError("class means with silencing 'input' are stored for the test split only")
        self.require("fields")
        return self._read("fields.safetensors", f"{split}/{silencing}/{site}")

    def label_accuracy(self, site: str, split: str = "test") -> np.ndarray:
        """Share of each label's images that the site's probe gets right, (K,)."""
        self._check_site(site)
        self.require("fields")
        return self._read("fields.safetensors", f"{split}/accuracy/{site}")

    def write_fields(self, measured: Mapping[tuple[str, str], measure.Measured]) -> list[str]:
        """What was measured, by split and silencing convention."""
        tensors = {}
        for (split, silencing), found in measured.items():
            for site in found.class_means:
                tensors[f"{split}/{silencing}/{site}"] = torch.from_numpy(found.class_means[site])
                tensors[f"{split}/accuracy/{site}"] = torch.from_numpy(found.label_accuracy[site])
        return self._write("fields.safetensors", tensors)

    def readout(self) -> Nodes:
        """The nodes of the network's own read-out, measured on training images."""
        self.require("andc")
        return Nodes(*(self._read("readout.safetensors", name) for name in ("class_means", "weight")))

    def write_readout(self, nodes: Nodes) -> list[str]:
        tensors = {name: torch.from_numpy(getattr(nodes, name)) for name in ("class_means", "weight")}
        return self._write("readout.safetensors", tensors)

    def table(self, name: str) -> pd.DataFrame:
        """A stored table by name, one of `TABLES`; those of a site name it in the column "site"."""
        if name not in TABLES:
            raise unknown("table", name, TABLES)
        self.require(TABLES[name])
        path = self.folder / f"{name}.csv"
        return pd.read_csv(path, dtype={"site": str}, keep_default_na=name not in WITH_EMPTY_TEXT, encoding="utf-8")

    def write_tables(self, columns: list[str] | None = None, **tables: pd.DataFrame | list[dict]) -> list[str]:
        """Tables by name, each as rows; `columns`, where there may be no row."""
        for name, rows in tables.items():
            files.write_table(self.folder / f"{name}.csv", pd.DataFrame(rows, columns=columns))
        return [f"{name}.csv" for name in tables]

    def unfinished(self, name: str) -> Path:
        """A hidden file in which a stage keeps what it has until its results are stored and recorded."""
        self.begun.add(self.folder / f".{name}")
        return self.folder / f".{name}"

    def drop_unfinished(self):
        """Remove what `unfinished` named: nothing needs it any more."""
        for path in self.begun:
            path.unlink(missing_ok=True)

    def _read(self, file: str, name: str) -> np.ndarray:
        return files.read_tensor(self.folder / file, name).numpy()

    def _write(self, file: str, tensors: Mapping[str, torch.Tensor]) -> list[str]:
        return files.write_parts(self.folder / file, tensors)
