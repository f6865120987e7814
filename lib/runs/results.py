"""The files of a run: what is in each, written and read here and nowhere else.

network.safetensors  the trained network; the read-out alone, where only that was trained on a pretrained network
probes.safetensors   "<site>/gate", "<site>/bias", "<site>/weight" of every site's probe
fields.safetensors   "<split>/<silencing>/<site>": class means (K, nodes); "<split>/accuracy/<site>": (K,)
*_rest.safetensors   of probes and fields, what is not published; only large networks have some, see `published_sites`
readout.safetensors  "class_means", "weight" (K, nodes) of the network's own read-out, over the training images
cnn.safetensors      the CNN that was trained beside the network
<table>.csv          one of `TABLES`
run.json             how each stage was made, see `lib.runs.store`

Tensors are in several files where they are large, see `files.write_parts`. Of large networks the (K, nodes) of probes
and fields are int16, with the unit of each node as "<name>/unit": what is measured on a network is measured with the
probes that are stored, and what follows from class means from those that are stored.
"""

import sys
from collections.abc import Iterable, Mapping, Set
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
from lib.sites import parse
from lib.study import Measures
from lib.system import device, files
from lib.system.errors import UnpublishedFields, UnpublishedWeights, unknown
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
    "compensated": "compensated",
    "rates": "rates",
    "retraining": "retraining",
    "retraining_labels": "retraining",
    "retraining_cost": "retraining",
    "augmentation": "augmentation",
    "trials": "trials",
    "untrained": "untrained",
    "cnn": "cnn",
}
WITH_EMPTY_TEXT = ("andc", "scratch", "controls", "compensated")  # tables in which an empty field is an empty text
REST = "_rest"
PUBLISHED_PLACES = ("mha", "ff_hidden", "ff")  # of large networks: where the book's claims are judged


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

    @property
    def readable_sites(self) -> list[str]:
        """Those of the sites whose nodes are at hand; of a large network that others measured, the published ones."""
        rest = self.folder / f"fields{REST}.safetensors"
        return self.sites if files.exists(rest) else self.published_sites()

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
        found = {}
        for site in sites or self.sites:
            weight = torch.from_numpy(self.weight(site))
            found[site] = Probe(weight.shape[1], weight.shape[0]).to(self.device)
            own = {k: files.read_tensor(self.folder / "probes.safetensors", f"{site}/{k}") for k in ("gate", "bias")}
            found[site].load_state_dict(own | {"weight": weight})
        return found

    def write_probes(self, probes: Mapping[str, Probe]) -> list[str]:
        tensors = {f"{site}/{name}": t for site, probe in probes.items() for name, t in probe.state_dict().items()}
        return self._write(
            "probes", tensors, {f"{s}/weight" for s in probes}, {f"{s}/weight" for s in self.published_sites()}
        )

    def weight(self, site: str) -> np.ndarray:
        """W of a site's probe, (K, nodes)."""
        self._check_site(site)
        self.require("probes")
        return self._read("probes", f"{site}/weight", site in self.published_sites())

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
        return self._read("fields", f"{split}/{silencing}/{site}", site in self.published_sites(split, silencing))

    def label_accuracy(self, site: str, split: str = "test") -> np.ndarray:
        """Share of each label's images that the site's probe gets right, (K,)."""
        self._check_site(site)
        self.require("fields")
        return self._read("fields", f"{split}/accuracy/{site}")

    def write_fields(self, measured: Mapping[tuple[str, str], measure.Measured]) -> list[str]:
        """What was measured, by split and silencing convention."""
        tensors, of_nodes, published = {}, set(), set()
        for (split, silencing), found in measured.items():
            for site in found.class_means:
                of_nodes.add(name := f"{split}/{silencing}/{site}")
                tensors[name] = torch.from_numpy(found.class_means[site])
                tensors[f"{split}/accuracy/{site}"] = torch.from_numpy(found.label_accuracy[site])
            published |= {f"{split}/{silencing}/{site}" for site in self.published_sites(split, silencing)}
        return self._write("fields", tensors, of_nodes, published)

    def readout(self) -> Nodes:
        """The nodes of the network's own read-out, measured on training images."""
        self.require("andc")
        return Nodes(*(self._read("readout", name) for name in ("class_means", "weight")))

    def write_readout(self, nodes: Nodes) -> list[str]:
        return self._write(
            "readout", {name: torch.from_numpy(getattr(nodes, name)) for name in ("class_means", "weight")}
        )

    def published_sites(self, split: str = "test", silencing: str = "readout") -> list[str]:
        """Sites whose class means are published; with the defaults, those whose probes are as well.

        All, but for networks too large for that: of these the places at which the book's claims are judged, on test
        sentences, with the input silenced at the first and the last encoder alone.
        """
        if self.definition.network.published:
            return self.sites
        ends = (1, self.definition.network.depth)
        return [
            site
            for site, (encoder, place) in ((site, parse(site)) for site in self.sites)
            if place in PUBLISHED_PLACES and split == "test" and (silencing == "readout" or encoder in ends)
        ]

    @staticmethod
    def rest(names: Iterable[str]) -> tuple[str, ...]:
        """Those of some files that are not published."""
        return tuple(name for name in names if name.split(".")[0].endswith(REST))

    def table(self, name: str) -> pd.DataFrame:
        """A stored table by name, one of `TABLES`; those of a site name it in the column "site"."""
        if name not in TABLES:
            raise unknown("table", name, TABLES)
        self.require(TABLES[name])
        path = self.folder / f"{name}.csv"
        try:
            return pd.read_csv(path, dtype={"site": str}, keep_default_na=name not in WITH_EMPTY_TEXT, encoding="utf-8")
        except pd.errors.EmptyDataError:  # a table of no rows, whose columns nobody knew
            return pd.DataFrame()

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

    def _read(self, stem: str, name: str, published: bool = True) -> np.ndarray:
        """A tensor of a file, or of its rest; UnpublishedFields where that is not at hand."""
        path = self.folder / f"{stem}{'' if published else REST}.safetensors"
        if not published and not files.exists(path):
            raise UnpublishedFields(self.folder.name, name)
        found = files.read_tensor(path, name).numpy()
        return found * files.read_tensor(path, f"{name}/unit").numpy() if found.dtype == np.int16 else found

    def _write(
        self,
        stem: str,
        tensors: Mapping[str, torch.Tensor],
        of_nodes: Set[str] = frozenset(),
        kept: Set[str] = frozenset(),
    ) -> list[str]:
        """Tensors into a file; of a large network those `of_nodes` as integers, and those not `kept` into the rest."""
        if self.definition.network.published:
            return files.write_parts(self.folder / f"{stem}.safetensors", tensors)
        parts: dict[str, dict[str, torch.Tensor]] = {"": {}, REST: {}}
        for name, value in tensors.items():
            end = REST if name in of_nodes - kept else ""
            parts[end] |= packed(name, value) if name in of_nodes else {name: value}
        paths = {self.folder / f"{stem}{end}.safetensors": part for end, part in parts.items() if part}
        return [written for path, part in paths.items() for written in files.write_parts(path, part)]


def packed(name: str, values: torch.Tensor) -> dict[str, torch.Tensor]:
    """(K, nodes) as int16, in units of the largest value of each node; the units as "<name>/unit", (nodes,)."""
    unit = values.abs().amax(0).clamp(min=1e-30) / (2**15 - 1)
    return {name: (values / unit).round().to(torch.int16), f"{name}/unit": unit}
