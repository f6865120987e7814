"""What the tables of `lib.experiments.language` say, in sentences for a page: every control beside its number."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib import snp
from lib.experiments import language, pruning_tables, sharpening
from lib.system.words import listed

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
        judged = (
            f"Beyond shuffled labels and beyond random weights it grows {_at(growing)}, with the read-out of the other"
            " nodes silenced; the card below has their input silenced too."
        )
    accuracy, snr = (_range(ends, column, form) for column, form in (("accuracy", ".0%"), ("snr", ".2f")))
    lines.append(
        f"**Sharpening** ({name}): from first to last encoder the label becomes easier to read ({accuracy}), while the"
        f" signal-to-noise ratio of single nodes goes {snr}. {judged}"
    )
    rests = _range(ends, "rests_on", ".0f")
    lines.append(
        f"**Many nodes** ({name}): the number of nodes that an answer rests on goes {rests}; with shuffled labels it is"
        f" {ends['rests_on_control'].mean():.1f} on average."
    )
    if len(clusters[clusters["network"] == name]):
        lines.append(f"**Clusters and domains** ({name}): {_together(clusters, name)}.")
    if len(part := broken[broken["network"] == name]):
        last = part[part["encoder"] == part["encoder"].max()].groupby("what")
        beyond = last["beyond"].mean()
        lines.append(
            f"**Heads** ({name}): polarisation at the last encoder is {beyond['network']:.0%} of the way from random"
            f" heads to one head a label; untrained {_known(beyond, 'untrained')}, with a probe on shuffled labels"
            f" {_known(beyond, 'shuffled')}."
        )
    return "\n".join(f"- {line}" for line in lines)


def measured(networks: language.Networks, defined: language.Networks) -> str:
    """Which runs there are of each network, with test accuracy, mean over seeds, and which of those defined are not."""
    told = []
    for name in ("as published", "fine-tuned", "random weights"):
        runs = networks.get(name, ())
        there = [f"`{run.name}`" for run in runs]
        missing = [text for run in defined.get(name, ()) if (text := f"`{run.name}`") not in there]
        about = "not measured yet"
        if runs:
            accuracy = sum(run.results["test_accuracy"] for run in runs) / len(runs)
            about = f"test accuracy {accuracy:.1%}{' on average' * (len(runs) > 1)}"
            about += f"; {listed(missing)} not measured yet" * bool(missing)
        told.append(" ".join(filter(None, (f"**{name}**", listed(there or missing), f"({about})"))))
    return f"The networks and their runs: {', '.join(told)}."


def keep_to_domains(clusters: pd.DataFrame) -> str:
    """The answer to whether clusters keep to domains because of training, one paragraph a trained network."""
    told = []
    for name in clusters["network"].unique():
        if name == "random weights":
            continue
        found = language.against_random_weights(clusters, name)
        text = f"**{name.capitalize()}**: {_together(clusters, name)}."
        if found["sign"].notna().any():
            last = _last(found)
            more = (last["sign"] > 0).sum()
            reading = "Only where it is beyond both did training give clusters more than the words that intents share."
            if more == len(last):
                reading = "So training gave clusters a meaning beyond the words that intents share."
            elif not more:
                reading = "What is there beyond chance is there without training."
            text += (
                f" {reading} Over all encoders the share is larger than at random weights at"
                f" {(found['sign'] > 0).sum()} of {len(found)} sites and smaller at {(found['sign'] < 0).sum()}."
            )
        told.append(text)
    return "\n\n".join(told) or MISSING


def _together(clusters: pd.DataFrame, name: str) -> str:
    """The share of pairs of one domain at the last encoder of a network, beside chance and random weights."""
    last = _last(language.against_random_weights(clusters, name))
    text = (
        "at the last encoder two intents in one cluster of a node are of one domain in"
        f" {_shares(last['observed'])} of the cases, by chance in {last['null_mean'].mean():.0%}"
    )
    chance = f"beyond chance (p < 0.01) {_at(last.index[last['p'] < 0.01])}"
    if last["sign"].isna().any():
        return f"{text}, that is {chance}; random weights were not measured"
    told = [chance, f"beyond random weights {_at(last.index[last['sign'] > 0])}"]
    told += [f"below them {_at(less).removesuffix(' only')}"] if len(less := last.index[last["sign"] < 0]) else []
    return f"{text}, at random weights in {_shares(last['untrained'])}: {', '.join(told)}"


def _last(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last encoder, by place."""
    return found.xs(found.index.get_level_values("encoder").max(), level="encoder")


def _shares(shares: pd.Series) -> str:
    return ", ".join(f"`{place}` {share:.0%}" for place, share in shares.items())


def _at(places: Sequence[str]) -> str:
    """Some of the three places in words."""
    if len(places) == len(language.PLACES):
        return "at all three places"
    named = " and ".join(f"`{place}`" for place in places)
    return f"at {named}{' only' * (len(places) == 1)}" if named else "at no place"


def _number(value: float, form: str) -> str:
    """A number without the sign of zero."""
    text = f"{value:{form}}"
    return text if text.strip("+-0.%") else text.lstrip("-")


def _span(values: pd.Series, form: str) -> str:
    """ "0.01 to 0.03", or one number where both ends are the same."""
    low, high = _number(values.min(), form), _number(values.max(), form)
    return low if low == high else f"{low} to {high}"


def _known(values: pd.Series, name: str) -> str:
    return _number(values[name], ".0%") if name in values else "without any label that a node recognises"


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


def usual_node(run) -> tuple[str, int]:
    """The last encoder's heads as a site, and of their nodes the one with the median noise."""
    site = f"{run.definition.network.depth}.mha"
    return site, snp.median_node(run.nodes(site))


def one_node(run) -> str:
    """The clusters of `usual_node`, with their domains."""
    (site, node), labels = usual_node(run), run.label_names
    ((_, (index,)),) = snp.clusters(run.nodes(site)[[node]])
    named = [f"{name} ({domain})" for name, domain in zip(labels, run.superclasses or labels, strict=True)]
    found = [np.flatnonzero(index == c) for c in range(index.max() + 1)]
    lines = [f"- {', '.join(named[i] if run.superclasses else labels[i] for i in cluster)}" for cluster in found]
    about = f"Clusters of node {node} of `{site}` in run `{run.name}`, the one with the median noise:"
    return "\n".join([about, "", *(lines or ["- none"])])


def sharpened(networks: language.Networks, nodes: pd.DataFrame) -> str:
    """Where the SNR grows beyond its controls, in a sentence; then `growth`."""
    found = {name: language.sharper(networks, name) for name in ("fine-tuned", "as published")}
    told = [f"{_at(places)} ({name})" for name, places in found.items() if places is not None]
    about = "Beyond shuffled labels and beyond random weights, nodes sharpen {}, with the read-out silenced.\n\n"
    return about.format(listed(told)) * bool(told) + growth(nodes)


def growth(nodes: pd.DataFrame) -> str:
    """One line a network: SNR at both ends, with shuffled labels, and in how many seeds its excess over them grows."""
    lines, table = [], sharpening.growth(nodes, ("network", "seed", "place"), control="control")
    for name, of_network in table.groupby("network", sort=False):
        told = []
        for place, part in of_network.groupby("place", sort=False):
            first, last, null_first, null_last = (part[c].mean() for c in ("first", "last", "null_first", "null_last"))
            grows, seeds = (part["change"] > 0).sum(), len(part)
            excess = f"grows in {grows} of {seeds} seeds" if seeds > 1 else "grows" if grows else "does not grow"
            told.append(
                f"`{place}` {first:.2f} to {last:.2f} (shuffled labels: {null_first:.2f} to {null_last:.2f}; the"
                f" excess {excess})"
            )
        lines.append(f"- {name}: {', '.join(told)}.")
    return "\n".join(lines) or MISSING


def elsewhere(nodes: pd.DataFrame, run: str, networks: language.Networks) -> str:
    """`growth` on other labels, or what `run` would show if it were made."""
    if len(nodes):
        return growth(nodes)
    here = {name: language.sharper(networks, name) for name in ("fine-tuned", "as published")}
    told = [f"{_at(places)} ({name})" for name, places in here.items() if places is not None]
    return f"Run `{run}` has not been made yet. It would show whether nodes sharpen where they do here" + (
        f", that is {listed(told)}." if told else "."
    )


def domains(clusters: pd.DataFrame, owners: pd.DataFrame) -> str:
    """Of `clusters_in_domains` and `heads_in_domains`: where each exceeds its controls, in sentences; then numbers."""
    said, lines = [], []
    trained = [name for name in clusters["network"].unique() if name != "random weights"]
    lasts = {name: _last(language.against_random_weights(clusters, name)) for name in trained}
    if judged := {name: last for name, last in lasts.items() if last["sign"].notna().all()}:
        more = listed([f"{_at(last.index[last['sign'] > 0])} ({name})" for name, last in judged.items()])
        said.append(f"At the last encoder, clusters keep to domains more than at random weights {more}.")
    if len(owners):
        said.append(heads_and_domains(owners))
    for what, part in owners.groupby("what", sort=False):
        labels = f"of the {_span(part['labels'], 'd')} labels that count"
        chance = _number(part["null_mean"].mean(), ".2f")
        about = f"Adjusted Rand index of heads and domains, {what}, {labels}"
        lines.append(f"- {about} (by chance {chance}): {_each(part, '.2f', 'encoders')}.")
    if len(clusters):
        shares = f"(by chance {clusters['null_mean'].mean():.0%}): {_each(clusters, '.0%', 'sites')}"
        lines.insert(0, f"- Share of pairs of intents in one cluster that are of one domain {shares}.")
    return "\n\n".join(filter(None, (" ".join(said), "\n".join(lines)))) or MISSING


def heads_and_domains(owners: pd.DataFrame) -> str:
    """At how many encoders heads keep to domains more than as many nodes of any heads, of `heads_in_domains`."""
    if owners.empty:
        return MISSING
    parts = owners[owners["what"] == language.BY_HEADS].groupby("network", sort=False)
    counts = ", ".join(f"{_of(part['p'] < 0.01, part)} ({name})" for name, part in parts)
    return f"Heads keep to domains more than as many nodes of any heads do (p < 0.01) at {counts} encoders."


def _each(tested: pd.DataFrame, form: str, where: str) -> str:
    """Of each network the range of what was observed, and where (`where`: sites or encoders) it is beyond chance."""
    told = []
    for name, part in tested.groupby("network", sort=False):
        beyond = _of(part["p"] < 0.01, part, where)
        told.append(f"{name} {_span(part['observed'], form)}, beyond chance (p < 0.01) at {beyond}")
    return "; ".join(told)


def _of(found: pd.Series, part: pd.DataFrame, where: str = "") -> str:
    """ "3 of 12 sites in 2 seeds": rows of a table at which something was found."""
    seeds = part["seed"].nunique()
    return f"{found.sum()} of {len(part)}{f' {where}' * bool(where)}{f' in {seeds} seeds' * (seeds > 1)}"


def heads(broken: pd.DataFrame, removed: pd.DataFrame) -> str:
    """Of `polarisation` and `removal`: where symmetry breaks and removal harms, in sentences; then numbers."""
    above, beyond, missed, rho = [], [], [], []
    for name, part in broken.groupby("network", sort=False):
        own = part[part["what"] == "network"].set_index(["seed", "encoder"])
        excess = part.pivot(index=["seed", "encoder"], columns="what", values="beyond")
        excess = excess.reindex(index=own.index, columns=["network", "untrained", "shuffled"])
        more = ~(excess["network"] <= excess["shuffled"]) & ~(excess["network"] <= excess["untrained"])
        more &= excess["network"].notna()
        above.append(f"{_of((own['p'] < 0.01) & more, own.reset_index())} ({name})")
        beyond.append(f"{name} {_span(own['beyond'], '.2f')}")
    for name, part in removed.groupby("network", sort=False):
        missed.append(f"{_of(part['low'] > 0, part)} ({name})")
        rho.append(f"{name} {_span(part['rho'], '.2f')}")
    said, lines = [], []
    if above:
        said.append(
            "Polarisation exceeds that of random heads (p < 0.01), with a larger excess than with a probe on shuffled"
            f" labels and than in the untrained network, at {', '.join(above)} encoders."
        )
        lines.append(f"- Polarisation beyond random heads, smallest and largest of the encoders: {'; '.join(beyond)}.")
    if missed:
        said.append(
            "A label suffers more from losing the head that has its nodes (95 % interval above zero) at"
            f" {', '.join(missed)} encoders."
        )
        lines.append(f"- Rank correlation of having the nodes and being missed: {'; '.join(rho)}.")
    return "\n\n".join(filter(None, (" ".join(said), "\n".join(lines)))) or MISSING


def pruning(pruned: pd.DataFrame) -> str:
    """Of `language.pruned`, retrained: what ANDC is better and worse than, in a sentence; then a line a threshold."""
    lines = []
    retrained = pruned[pruned["regime"] == "retrained"]
    for (name, _), part in retrained.groupby(["network", "threshold"], sort=False):
        points = part["difference"].map("{:+.1%}".format).str.rstrip("%")
        told = points.where(part["sign"] != 0, "(" + points + ")")
        others = [
            f"{pruning_tables.NAMES[row.other]} {row.accuracy:.1%}, {text}"
            for row, text in zip(part.itertuples(), told, strict=True)
        ]
        first = part.iloc[0]
        lines.append(f"- {name}, {first['kept']:.0%} kept: ANDC {first['andc']:.1%}; {'; '.join(others)}.")
    if not lines:
        return MISSING
    names, said = pruning_tables.NAMES | {"dense": "the unpruned network"}, []
    signs = {names[other]: of for other, of in retrained.groupby("other", sort=False)["sign"]}
    for word, sign in (("worse than", -1), ("better than", 1)):
        counts = [f"{name} in {(of == sign).sum()} of {len(of)}" for name, of in signs.items() if (of == sign).any()]
        said += [f"{word} {', '.join(counts)}"] * bool(counts)
    if alike := [name for name, of in signs.items() if not of.any()]:
        said.append(f"neither better nor worse than {', '.join(alike)} in any")
    about = (
        f"After the same retraining and beyond the margin of error, ANDC is {'; '.join(said)} of the cases below.\n\n"
        "Share of the feed-forward weights kept, accuracy, and by how many points ANDC is better (brackets: within the"
        " margin of error).\n\n"
    )
    return about + "\n".join(lines)


def methods(pruned: pd.DataFrame) -> pd.DataFrame:
    """Of `language.pruned`: accuracy by what was trained after pruning and by method, ANDC first.

    A column a network and threshold, with the share of weights kept there; NaN where a method was not tried.
    """
    words = {regime: text.capitalize() for regime, text in pruning_tables.REGIMES.items()}
    words |= {"andc": pruning_tables.NAMES["andc"]} | pruning_tables.NAMES
    kept = pruned.groupby(["network", "threshold"])["kept"].transform("mean")
    column = [f"threshold {t:g}, {share:.0%} kept" for t, share in zip(pruned["threshold"], kept, strict=True)]
    cells = pruned.assign(at=column)
    rule = cells.drop_duplicates(["network", "regime", "threshold"])
    cells = pd.concat([rule.assign(other="andc", accuracy=rule["andc"]), cells])
    order = {name: i for i, name in enumerate(words)}
    cells = cells.sort_values(["regime", "other"], key=lambda names: names.map(order))
    cells = cells.replace({"regime": words, "other": words})
    found = cells.pivot_table(index=["regime", "other"], columns=["network", "at"], values="accuracy", sort=False)
    return found.rename_axis(["after pruning", "method"]).rename_axis(["network", "threshold"], axis=1)
