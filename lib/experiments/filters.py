"""Filters of a convolutional network, block by block, under the measures and controls of a transformer's nodes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from lib import adapt, snp
from lib.cnn import CNN
from lib.data import ImageSet
from lib.experiments import sharpening
from lib.recipes import CNNRecipe, ProbeRecipe
from lib.sites import at, parse
from lib.study import Study

READOUTS = ("pooled", "flattened")


def study(
    network: CNN, train: ImageSet, test: ImageSet, probes: ProbeRecipe, readout: str = "pooled", seed: int = 0
) -> Study:
    """Probes at each block of a CNN, and class means: positions pooled, or each with a weight of its own."""
    layout = adapt.flattened if readout == "flattened" else adapt.channels_first
    sites = {name: site._replace(layout=layout) for name, site in network.sites.items()}
    return Study(adapt.Adapted(network, sites, train), train, test, probes, seed)


def nodes(study: Study, site: str, filters: int) -> snp.Nodes:
    """The filters of a block, at either read-out."""
    return snp.Nodes(*(v.reshape(len(v), filters, -1) for v in (study.class_means(site), study.weight(site))))


def typical(nodes: snp.Nodes, threshold: float = snp.THRESHOLD) -> int:
    """Of the filters that have clusters, the one whose sizes of clusters, the largest first, are nearest to their mean.

    A cluster that is missing has no labels. ValueError if none has clusters.
    """
    index = np.concatenate([part for _, part in snp.clusters(nodes, threshold)])
    some = np.flatnonzero((index >= 0).any(1))
    if not len(some):
        raise ValueError(f"no filter has clusters at threshold {threshold:g}")
    sizes = np.stack([(index[some] == cluster).sum(1) for cluster in range(index.max() + 1)], axis=1)
    sizes = -np.sort(-sizes, axis=1)
    return int(some[np.argmin(((sizes - sizes.mean(0)) ** 2).sum(1))])


def row(network: str, site: str, nodes: snp.Nodes, accuracy: float, relabelled: int = snp.RELABELLINGS) -> dict:
    """One layer of a network: probe accuracy, SNR under shuffled labels ("control"), and `snp.site_statistics`."""
    control = snp.relabelled_snr(nodes, repeats=relabelled)
    about = {"network": network, "layer": parse(site).encoder, "accuracy": accuracy, "control": control}
    return about | snp.site_statistics(nodes)


def rows(name: str, network: CNN, study: Study, relabelled: int = snp.RELABELLINGS) -> list[dict]:
    """`row` for each block of a CNN."""
    found = {s: nodes(study, s, network.width(s)) for s in network.sites}
    return [row(name, s, found[s], study.accuracy(s), relabelled) for s in network.sites]


def table(
    networks: Mapping[str, CNN],
    train: ImageSet,
    test: ImageSet,
    probes: ProbeRecipe,
    recipe: CNNRecipe,
    once: Callable[[dict, Callable[[], list[dict]]], list[dict]],
    seed: int = 0,
) -> pd.DataFrame:
    """`rows` of some CNNs by name at both read-outs: networks "<name>, pooled" and "<name>, flattened".

    once: keeps the rows of a network and read-out, given a key and what computes them, as `files.Journal.once` does.
    """

    def measured(name: str, readout: str) -> list[dict]:
        trained_so = probes if readout == "pooled" else replace(probes, lr=recipe.flattened_lr)
        there = study(networks[name], train, test, trained_so, readout, seed)
        return rows(f"{name}, {readout}", networks[name], there, recipe.relabelled)

    cells = [(name, readout) for name in networks for readout in READOUTS]
    found = [once({"network": n, "readout": r}, partial(measured, n, r)) for n, r in cells]
    return pd.DataFrame([row for part in found for row in part])


def of_transformer(run, places: tuple[str, ...] = ("mha", "ff_hidden", "ff")) -> pd.DataFrame:
    """`row` for each encoder of a run's transformer at some places: networks "transformer, mha" and so on."""
    sites = at(run.sites, *places)
    return pd.DataFrame(
        row(f"transformer, {parse(s).place}", s, run.nodes(s), run.label_accuracy(s).mean()) for s in sites
    )


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """What becomes of the SNR from first layer to last, one row per network: `sharpening.growth`, and more of it.

    rising, of steps: from layer to layer; best: the layer of the largest excess over shuffled labels, of those that
    have one; rho: rank correlation of SNR and probe accuracy.
    """
    found = sharpening.growth(table, ("network",), "layer", "control").drop(columns="error")
    more = {}
    for name, part in table.groupby("network", sort=False):
        excess = (part["snr"] - part["control"]).to_numpy()
        more[name] = {
            "rising": int((np.diff(part["snr"]) > 0).sum()),
            "steps": len(part) - 1,
            "best": part["layer"].iloc[np.nanargmax(excess)] if np.isfinite(excess).any() else np.nan,
            "rho": part["snr"].corr(part["accuracy"], method="spearman"),
        }
    return found.join(pd.DataFrame.from_dict(more, orient="index"))


def beyond(change, untrained):
    """The rule of claim 6: whether the excess grows, and by more than in the untrained network (number or array)."""
    return change > np.maximum(untrained, 0)


def of_runs(runs) -> pd.DataFrame:
    """The tables "cnn" of runs that have one, seeds of each included, with the columns run (the first's name) and seed.

    runs: runs or None, which is left out, as is a run that differs from an earlier one in its seed alone. ValueError if
    none has the table.
    """
    families: list[list] = []
    for run in runs:
        if run and run.has("cnn") and not any(run.same_but_seed(family[0]) for family in families):
            families.append(run.seeds("cnn"))
    tables = [
        member.table("cnn").assign(run=family[0].name, seed=member.definition.seed)
        for family in families
        for member in family
    ]
    if not tables:
        raise ValueError(
            "none of these runs has a result of the stage 'cnn'; `lib.runs.make(name).require('cnn')` makes it"
        )
    return pd.concat(tables, ignore_index=True)
