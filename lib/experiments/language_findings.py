"""What the tables of `lib.experiments.language` say, in sentences for a page: every control beside its number."""

import numpy as np
import pandas as pd

from lib import snp
from lib.experiments import language, pruning_verdict, sharpening

MISSING = "Not measured yet."


def in_short(networks: language.Networks, nodes: pd.DataFrame, clusters: pd.DataFrame, broken: pd.DataFrame) -> str:
    """The findings in a few lines of Markdown; of the networks, `along`, `clusters_in_domains` and `polarisation`.

    Of the fine-tuned network, where it was measured, else of the network as published.
    """
    names = [name for name in ("fine-tuned", "as published") if name in set(nodes["network"])]
    if not names:
        return MISSING
    name, lines = names[0], []
    ends = _ends(nodes, name)
    growing = language.sharper(networks, name)
    judged = "Whether it grows is not judged, since the network at random weights has not been measured."
    if growing is not None:
        where = f"at {', '.join(f'`{p}`' for p in growing)} only" if growing else "at no place"
        where = "at all three places" if len(growing) == len(language.PLACES) else where
        judged = (
            f"Beyond shuffled labels and beyond random weights it grows {where}, with the read-out of the other nodes"
            " silenced; the card below has their input silenced too."
        )
    accuracy, snr = (_range(ends, column, form) for column, form in (("accuracy", ".0%"), ("snr", ".2f")))
    lines.append(
        f"**Sharpening** ({name}): from first to last encoder the label becomes easier to read ({accuracy}), while the"
        f" signal-to-noise ratio of single nodes goes {snr}. {judged}"
    )
    rests = _range(ends, "rests_on", ".0f")
    lines.append(
        f"**Many nodes**: the number of nodes that an answer rests on goes {rests}; with shuffled labels it is"
        f" {ends['rests_on_control'].mean():.1f} on average."
    )
    if len(part := clusters[clusters["network"] == name]):
        control = clusters[clusters["network"] == "random weights"]
        untrained = f"at random weights in {_shares(control)}" if len(control) else "random weights were not measured"
        lines.append(
            f"**Clusters and domains**: at the last encoder two intents in one cluster of a node are of one domain"
            f" in {_shares(part)} of the cases; by chance in {part['null_mean'].mean():.0%}, {untrained}."
        )
    if len(part := broken[broken["network"] == name]):
        last = part[part["encoder"] == part["encoder"].max()].groupby("what")
        beyond = last["beyond"].mean()
        lines.append(
            f"**Heads**: polarisation at the last encoder is {beyond['network']:.0%} of the way from random heads to"
            f" one head a label; untrained {_known(beyond, 'untrained')}, with a probe on shuffled labels"
            f" {_known(beyond, 'shuffled')}."
        )
    return "\n".join(f"- {line}" for line in lines)


def measured(networks: language.Networks, defined: language.Networks) -> str:
    """Which runs there are of each network, with test accuracy, mean over seeds, and which of those defined are not."""
    told = []
    for name in ("as published", "fine-tuned", "random weights"):
        runs = networks.get(name, ())
        there = [run.name for run in runs]
        missing = [run.name for run in defined.get(name, ()) if run.name not in there]
        accuracy = [run.results["test_accuracy"] for run in runs]
        found = f"{', '.join(there)} (test accuracy {sum(accuracy) / len(runs):.1%})" if runs else ""
        absent = f"not measured yet: {', '.join(missing)}" if missing else "" if runs else "not measured yet"
        told.append(f"{name}: {', '.join(filter(None, (found, absent)))}")
    return f"Made of these runs: {'; '.join(told)}."


def _shares(clusters: pd.DataFrame) -> str:
    """ "`mha` 14%, ..." at the last encoder, of the table `clusters_in_domains`."""
    last = clusters[clusters["encoder"] == clusters["encoder"].max()].groupby("place", sort=False)
    return ", ".join(f"`{place}` {share:.0%}" for place, share in last["observed"].mean().items())


def _known(values: pd.Series, name: str) -> str:
    return f"{round(values[name], 2) + 0.0:.0%}" if name in values else "without any label that a node recognises"


def _ends(nodes: pd.DataFrame, name: str) -> pd.DataFrame:
    """Means over seeds at the first and the last encoder: rows (place, encoder)."""
    part = nodes[nodes["network"] == name]
    part = part[part["encoder"].isin([part["encoder"].min(), part["encoder"].max()])]
    return part.groupby(["place", "encoder"], sort=False).mean(numeric_only=True)


def _range(ends: pd.DataFrame, column: str, form: str) -> str:
    """ "`mha` 12 to 34, `ff` ..." of what `_ends` gives."""
    found = []
    for place, part in ends[column].groupby("place", sort=False):
        first, last = part.sort_index().tolist()
        found.append(f"`{place}` {first:{form}} to {last:{form}}")
    return ", ".join(found)


def one_node(run) -> str:
    """The clusters of the node with the median noise among those of the last encoder's heads, with their domains."""
    site, labels = f"{run.definition.network.depth}.mha", run.label_names
    nodes = run.nodes(site)
    node = snp.median_node(nodes)
    ((_, (index,)),) = snp.clusters(nodes[[node]])
    named = [f"{name} ({domain})" for name, domain in zip(labels, run.superclasses or labels, strict=True)]
    found = [np.flatnonzero(index == c) for c in range(index.max() + 1)]
    lines = [f"- {', '.join(named[i] if run.superclasses else labels[i] for i in cluster)}" for cluster in found]
    about = f"Clusters of node {node} of `{site}` in run `{run.name}`, the one with the median noise:"
    return "\n".join([about, "", *(lines or ["- none"])])


def growth(nodes: pd.DataFrame) -> str:
    """One line a network: SNR at both ends, with shuffled labels, and in how many seeds its excess over them grows."""
    lines, table = [], sharpening.growth(nodes, ("network", "seed", "place"), control="control")
    for name, of_network in table.groupby("network", sort=False):
        told = []
        for place, part in of_network.groupby("place", sort=False):
            first, last, null_first, null_last = (part[c].mean() for c in ("first", "last", "null_first", "null_last"))
            seeds = f"in {(part['change'] > 0).sum()} of {len(part)} seed{'s' * (len(part) > 1)}"
            told.append(
                f"`{place}` {first:.2f} to {last:.2f} (shuffled labels: {null_first:.2f} to {null_last:.2f}), the"
                f" excess growing {seeds}"
            )
        lines.append(f"- {name}: {'; '.join(told)}.")
    return "\n".join(lines) or MISSING


def domains(clusters: pd.DataFrame, owners: pd.DataFrame) -> str:
    """Of `clusters_in_domains` and `heads_in_domains`: at how many sites each exceeds chance (p < 0.01), by what."""
    lines = []
    if len(clusters):
        lines.append(
            "- Pairs of intents in one cluster that are of one domain, by chance"
            f" {clusters['null_mean'].mean():.0%}: {_each(clusters, '.0%')}."
        )
        lines += _beside_random_weights(clusters)
    for what, part in owners.groupby("what", sort=False):
        chance = round(part["null_mean"].mean(), 2) + 0.0  # no -0.00
        labels = f"of the {part['labels'].min()} to {part['labels'].max()} labels that count, by encoder"
        lines.append(f"- Heads and domains ({what}; {labels}), index, by chance {chance:.2f}: {_each(part, '.2f')}.")
    return "\n".join(lines) or MISSING


def _beside_random_weights(clusters: pd.DataFrame) -> list[str]:
    """At how many sites the share of pairs of one domain exceeds that at random weights, means over seeds."""
    share = clusters.groupby(["network", "place", "encoder"], sort=False)["observed"].mean().unstack("network")
    if "random weights" not in share:
        return []
    random = share.pop("random weights")
    if share.empty:
        return []
    told = (f"{name} at {(share[name] > random).sum()} of {share[name].notna().sum()} sites" for name in share)
    return [f"- The share is larger than at random weights: {'; '.join(told)}."]


def _each(tested: pd.DataFrame, form: str) -> str:
    """Of each network the range of what was observed, and where it is beyond chance."""
    told = []
    for name, part in tested.groupby("network", sort=False):
        low, high = part["observed"].min(), part["observed"].max()
        told.append(f"{name} {low:{form}} to {high:{form}}, beyond it (p < 0.01) at {_of((part['p'] < 0.01), part)}")
    return "; ".join(told)


def _of(found: pd.Series, part: pd.DataFrame) -> str:
    """ "3 of 12 places in 2 seeds": rows of a table at which something was found."""
    seeds = part["seed"].nunique()
    return f"{found.sum()} of {len(part)}{f' in {seeds} seeds' * (seeds > 1)}"


def heads(broken: pd.DataFrame, removed: pd.DataFrame) -> str:
    """Of `polarisation` and `removal`: at how many encoders symmetry breaks, and removal harms what heads recognise."""
    told, missed = [], []
    for name, part in broken.groupby("network", sort=False):
        own = part[part["what"] == "network"].set_index(["seed", "encoder"])
        excess = part.pivot(index=["seed", "encoder"], columns="what", values="beyond")
        excess = excess.reindex(index=own.index, columns=["network", "untrained", "shuffled"])
        more = ~(excess["network"] <= excess["shuffled"]) & ~(excess["network"] <= excess["untrained"])
        more &= excess["network"].notna()
        above = (own["p"] < 0.01) & more
        beyond = f"{own['beyond'].min():.2f} to {own['beyond'].max():.2f} beyond random heads"
        told.append(f"{name} at {_of(above, own.reset_index())} ({beyond})")
    for name, part in removed.groupby("network", sort=False):
        rho = f"{part['rho'].min():.2f} to {part['rho'].max():.2f}"
        missed.append(f"{name} at {_of(part['low'] > 0, part)} (rank correlation {rho})")
    lines = []
    if told:
        lines.append(
            "- Encoders at which polarisation exceeds that of random heads (p < 0.01), with a larger excess than with a"
            f" probe on shuffled labels and than in the untrained network: {'; '.join(told)}."
        )
    if missed:
        lines.append(
            "- Encoders at which a label suffers more from losing the head that has its nodes (95 % interval above"
            f" zero): {'; '.join(missed)}."
        )
    return "\n".join(lines) or MISSING


def pruning(pruned: pd.DataFrame) -> str:
    """One line a network and threshold of `language.pruned`, retrained: ANDC beside the unpruned network and others."""
    lines = []
    retrained = pruned[pruned["regime"] == "retrained"]
    for (name, _), part in retrained.groupby(["network", "threshold"], sort=False):
        points = part["difference"].map("{:+.1%}".format).str.rstrip("%")
        told = points.where(part["sign"] != 0, "(" + points + ")")
        others = [
            f"{pruning_verdict.NAMES[row.other]} {row.accuracy:.1%}, {text}"
            for row, text in zip(part.itertuples(), told, strict=True)
        ]
        first = part.iloc[0]
        lines.append(f"- {name}, {first['kept']:.0%} kept: ANDC {first['andc']:.1%}; {'; '.join(others)}.")
    about = (
        "Share of the feed-forward weights kept, accuracy after the same retraining, and by how many points ANDC is"
        " better (brackets: within the margin of error).\n\n"
    )
    return about + "\n".join(lines) if lines else MISSING
