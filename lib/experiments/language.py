"""Networks with the same labels side by side: as published, fine-tuned, at random weights; what they make of domains.

Networks are given as {name: the runs of one network, which differ in the seed alone}. A table has a row a network, seed
and encoder, and place where nodes are measured. Nothing here computes a stage: what a run has not stored is left out.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd

from lib import heads, snp
from lib.experiments import heads_tables, pruning_tables, pruning_verdict, sharpening
from lib.sites import at, parse

PLACES = ("mha", "ff_hidden", "ff")
KINDS = {  # whether a network began with weights that others published, and which of its parts then learnt
    (True, "readout"): "as published",
    (True, "all"): "fine-tuned",
    (False, "all"): "trained anew",
    (False, "readout"): "random weights",
}
AFTER = ("", "untrained_", "shuffled_")  # prefixes in the table "heads_encoders": the network, and its two controls
BY_HEADS, BY_DOMAINS = "head with most nodes, beside random heads", "head with most nodes, beside shuffled domains"
OF_EXPERTS = "expert, beside shuffled domains"

Networks = Mapping[str, Sequence]


def kind(run) -> str:
    """What became of the weights of a run's network, one of `KINDS`."""
    return KINDS[run.definition.network.pretrained, run.definition.training.parts]


def by_kind(runs: Iterable, first: str = "") -> dict[str, list]:
    """Runs on one set of labels by `kind`; of each kind one, with its other seeds.

    first: the name of the run that counts where a kind has several; else the first does.
    """
    found: dict[str, list] = {}
    for run in sorted(runs, key=lambda run: run.name != first):
        family = found.setdefault(kind(run), [])
        if not family or run.same_but_seed(family[0]):
            family.append(run)
    return {name: found[name] for name in KINDS.values() if name in found}


def along(networks: Networks, ends: bool = False) -> pd.DataFrame:
    """Nodes along the encoders, at `PLACES`: one row a network, seed, place and encoder; first and last if `ends`.

    accuracy: of the probe, on the test set; snr, and as `control` that with shuffled labels; clusters_per_node,
    cluster_size; rests_on: mean over labels of `snp.participation`, as `rests_on_control` that with shuffled labels.
    """
    rows = []
    for about, run in _each(networks, "fields"):
        accuracy = run.table("probes").set_index("site")["test_accuracy"]
        for site in at(run.sites, *PLACES):
            if ends and parse(site).encoder not in (1, run.definition.network.depth):
                continue
            nodes = run.nodes(site)
            found = snp.site_statistics(nodes)
            row = {name: found[name] for name in ("snr", "clusters_per_node", "cluster_size")}
            row |= {"accuracy": accuracy[site], "control": snp.relabelled_snr(nodes)}
            shuffled = np.random.default_rng(0).permutation(len(nodes.weight))
            renamed = dataclasses.replace(nodes, weight=nodes.weight[shuffled])
            row |= {"rests_on": _mean(snp.participation(nodes)), "rests_on_control": _mean(snp.participation(renamed))}
            rows.append(about | parse(site)._asdict() | row)
    columns = ["network", "seed", "encoder", "place", "accuracy", "snr", "control", "clusters_per_node"]
    return pd.DataFrame(rows, columns=[*columns, "cluster_size", "rests_on", "rests_on_control"])


class Beside:
    """A run that takes another one, of the same network at random weights, for its untrained network."""

    def __init__(self, run, bare, thresholds: tuple[float, ...]):
        self._run, self._bare, self._thresholds = run, bare, thresholds

    def __getattr__(self, name: str):
        if name.startswith("_"):  # not there yet while it is copied
            raise AttributeError(name)
        return getattr(self._run, name)

    def has(self, stage: str) -> bool:
        return stage == "untrained" or self._run.has(stage)

    def seeds(self, stage: str) -> list["Beside"]:
        return [Beside(run, self._bare, self._thresholds) for run in self._run.seeds(stage)]

    def table(self, name: str) -> pd.DataFrame:
        return _as_untrained(self._bare, self._thresholds) if name == "untrained" else self._run.table(name)


@cache
def _as_untrained(bare, thresholds: tuple[float, ...]) -> pd.DataFrame:
    """The table "untrained" at both ends of `PLACES`, from a run at random weights."""
    ends = [s for place in PLACES for s in (at(bare.sites, place)[0], at(bare.sites, place)[-1])]
    accuracy = bare.table("probes").groupby("site")["test_accuracy"].first()
    found = sharpening.table(bare, ends, thresholds)
    return found.assign(test_accuracy=found["site"].map(accuracy))


def beside_random_weights(networks: Networks, thresholds: tuple[float, ...] = sharpening.THRESHOLDS) -> Networks:
    """The same networks, each with that at random weights (its first seed) as its untrained one, where there is one.

    thresholds: those at which the untrained network will be asked for.
    """
    if not (bare := networks.get("random weights")):
        return networks
    return {
        name: runs if runs is bare else [Beside(run, bare[0], thresholds) for run in runs]
        for name, runs in networks.items()
    }


def sharper(networks: Networks, name: str) -> list[str] | None:
    """Places at which a network's SNR sharpens in every seed, as `sharpening.growth_of_seeds` judges it.

    None where the network, or that at random weights, has not been measured.
    """
    if not networks.get(name) or not networks.get("random weights"):
        return None
    runs = beside_random_weights(networks, (snp.THRESHOLD,))[name]
    found = sharpening.growth_of_seeds(runs, PLACES, (snp.THRESHOLD,), silencings=("readout",))
    sharpens = found.groupby(level="place", sort=False)["sharpens"].all()
    return [place for place in PLACES if sharpens[place]]


def over_seeds(table: pd.DataFrame, value: str, *also: str) -> pd.DataFrame:
    """A column of a table over seeds: mean, `low` and `high`, the smallest and largest; of others, `also`, the mean."""
    keys = [c for c in ("network", "what", "place", "encoder") if c in table]
    groups = table.groupby(keys, sort=False)
    found = groups[[value, *also]].mean()
    found["low"], found["high"], found["seeds"] = groups[value].min(), groups[value].max(), groups[value].size()
    return found.reset_index()


def domains(run) -> np.ndarray | None:
    """The domain of each label as a number, (K,); None where the data have no superclasses."""
    return heads_tables.groups(run) if heads_tables.has_groups(run) else None


def clusters_in_domains(networks: Networks, permutations: int = 1000) -> pd.DataFrame:
    """Do clusters of nodes keep to a domain? `heads.kept_together` at each site of `PLACES`, if there are domains."""
    rows = []
    for about, run in _each(networks, "fields"):
        if (groups := domains(run)) is None:
            continue
        for site in at(run.sites, *PLACES):
            if (partners := snp.partners(run.nodes(site))).any():
                found = heads.kept_together(partners, groups, permutations)
                rows.append(about | parse(site)._asdict() | dataclasses.asdict(found))
    return pd.DataFrame(rows, columns=["network", "seed", "encoder", "place", *TEST])


def against_random_weights(clusters: pd.DataFrame, name: str) -> pd.DataFrame:
    """Of `clusters_in_domains`, one network beside that at random weights; means over seeds, rows (place, encoder).

    Columns: observed, null_mean, null_std; p, the largest; untrained, what was observed at random weights; sign, 1
    where the share of pairs of one domain exceeds that at random weights by more than two standard deviations of what
    chance gives in both, -1 where it falls short by as much, else 0. NaN where random weights were not measured.
    """
    keys, columns = ["place", "encoder"], ["observed", "null_mean", "null_std"]
    groups = clusters[clusters["network"] == name].groupby(keys, sort=False)
    found = groups[columns].mean().assign(p=groups["p"].max())
    bare = clusters[clusters["network"] == "random weights"].groupby(keys, sort=False)[columns].mean()
    bare = bare.reindex(found.index)
    more = found["observed"] - bare["observed"]
    sign = np.sign(more).where(more.abs() > 2 * np.hypot(found["null_std"], bare["null_std"]), 0.0)
    return found.assign(untrained=bare["observed"], sign=sign.where(more.notna()))


def heads_in_domains(networks: Networks, permutations: int = 1000) -> pd.DataFrame:
    """Do heads take whole domains? Adjusted Rand index of labels by head and by domain, one row a way to ask.

    what: `BY_HEADS` and `BY_DOMAINS` (a label is of the head with most nodes that recognise it), `OF_EXPERTS` (of the
    head that tells it best alone, on training data); labels: how many count. Against shuffled domains those that
    several heads own alike are left out.
    """
    rows = []
    for about, run in _each(networks, "heads"):
        groups, H = domains(run), run.definition.network.heads
        if groups is None:
            continue
        for encoder, table in run.table("heads").groupby("encoder"):
            nodes = run.nodes(f"{encoder}.mha")
            if not snp.recognised(nodes).any():
                continue
            most = heads.owners(heads.diagonal_counts(nodes, H))
            expert = heads.owners(heads_tables.by_head(table, "train_accuracy"))
            found = {
                BY_HEADS: heads.heads_in_groups(nodes, H, groups, permutations=permutations),
                BY_DOMAINS: heads.partition_test(most, groups, permutations),
                OF_EXPERTS: heads.partition_test(expert, groups, permutations),
            }
            counted = (snp.recognised(nodes).any(0), most >= 0, expert >= 0)
            labels = {w: int(c.sum()) for w, c in zip(found, counted, strict=True)}
            about_it = about | {"encoder": encoder}
            rows += [about_it | {"what": w, "labels": labels[w]} | dataclasses.asdict(f) for w, f in found.items()]
    return pd.DataFrame(rows, columns=["network", "seed", "encoder", "what", "labels", *TEST])


def polarisation(networks: Networks) -> pd.DataFrame:
    """`heads.excess` along the encoders, of each network and of its controls.

    what: "network", "untrained" (the same at random weights), "shuffled" (its probe trained on shuffled labels);
    beyond: polarisation beyond that of random heads; error: two standard deviations of random heads, in its units.
    """
    rows = []
    for about, run in _each(networks, "heads"):
        for row in run.table("heads_encoders").to_dict("records"):
            for prefix in AFTER:
                chance = row[f"{prefix}null_mean"]
                found = {"beyond": heads.excess(row[f"{prefix}observed"], chance), "chance": chance}
                found |= {"error": 2 * row[f"{prefix}null_std"] / (1 - chance) if chance < 1 else np.nan}
                found |= {name: row[f"{prefix}{name}"] for name in ("z", "p")}
                what = {"what": prefix.rstrip("_") or "network", "encoder": int(row["encoder"])}
                rows.append(about | what | found | {"polarisation": row[f"{prefix}observed"]})
    columns = ["network", "seed", "what", "encoder", "polarisation", "chance", "beyond", "error", "z", "p"]
    return pd.DataFrame(rows, columns=columns).dropna(subset="beyond")


def removal(networks: Networks) -> pd.DataFrame:
    """Rank correlation of a head's share of a label and the damage of its removal: rho, with its interval low, high."""
    rows = []
    for about, run in _each(networks, "heads"):
        for row in run.table("heads_encoders").to_dict("records"):
            found = {name: row[f"damage_{name}"] for name in ("rho", "low", "high", "p")}
            rows.append(about | {"encoder": int(row["encoder"])} | found)
    return pd.DataFrame(rows, columns=["network", "seed", "encoder", "rho", "low", "high", "p"]).dropna(subset="rho")


def pruned(networks: Networks) -> pd.DataFrame:
    """ANDC beside the unpruned network and each other method, at the thresholds at which networks were retrained.

    One row a network, regime, threshold and other method, mean over seeds: kept, andc, accuracy (of the other),
    difference, margin and sign, as of `lib.experiments.pruning_verdict.Difference`.
    """
    rows = []
    for name, runs in networks.items():
        if not (runs := [run for run in runs if run.has("andc")]):
            continue
        table = pruning_tables.of_seeds(runs)
        rule = pruning_tables.select(table, layers="ff", method="andc")
        for (regime, threshold), _ in rule.groupby(["regime", "threshold"], sort=False):
            if threshold not in set(rule[rule["regime"] == "retrained"]["threshold"]):
                continue
            about = {"network": name, "regime": regime}
            for d in pruning_verdict.differences(table[table["regime"] == regime], threshold):
                rows.append(about | dataclasses.asdict(d) | {"difference": d.mean, "sign": d.sign})
    columns = ["network", "regime", "threshold", "other", "kept", "andc", "accuracy", "difference", "margin", "sign"]
    return pd.DataFrame(rows, columns=columns)


TEST = [field.name for field in dataclasses.fields(heads.PermutationTest)]


def _each(networks: Networks, stage: str) -> Iterator[tuple[dict, object]]:
    """The runs that have a stage's result, each with the columns that name it."""
    for name, runs in networks.items():
        for run in runs:
            if run.has(stage):
                yield {"network": name, "seed": run.definition.seed}, run


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan
