"""The paper's claims, each with its measure, its control and a verdict, all computed from a run."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lib import snp
from lib.experiments import filters, pruning_tables
from lib.experiments import language as networks_of_language

SHARPENED = ("mha", "ff_hidden", "ff")  # places at which claim 3 is judged


def claims(run) -> list[dict[str, str]]:
    """One row a claim of the paper's abstract: claim, chapter, measured, verdict. The rules of the verdicts:

    1. holds if the probes at `mha` and at `ff` are more accurate at the last encoder than at the first;
    2. holds if the clusters of the last encoder's `mha` nodes have on average less than a tenth of the labels;
    3. holds at a place if the SNR's excess over the SNR with shuffled output labels grows from first to last encoder;
       separately, if the SNR grows when the other nodes' input is silenced instead of their read-out;
    4. holds if at the book's threshold, both feed-forward layers of all encoders pruned and shortly retrained, ANDC
       loses no more against the unpruned network after the same retraining than two standard errors of a difference;
       separately, whether it is better than its permuted control by as much;
    5. holds if at the last encoder the heads' polarisation exceeds that of random heads (p < 0.01) by more standard
       deviations than with a probe trained on shuffled labels, and removing a head harms the labels its nodes
       recognise (the 95 % interval of the rank correlation lies above zero);
    6. holds at a read-out, pooled or flattened, if in a CNN trained on the same images the SNR's excess over the SNR
       with shuffled output labels grows from first to last block, and by more than in the untrained CNN. What the
       transformer does is claim 3.
    """
    return [_accuracy(run), _clusters(run), _sharpening(run), _pruning(run), _experts(run), mechanism(run)]


def markdown(rows: list[dict[str, str]]) -> str:
    """The rows as a Markdown table."""
    head = ["| claim | chapter | what we measured | verdict |", "|---|---|---|---|"]
    return "\n".join(head + ["| " + " | ".join(row.values()) + " |" for row in rows])


def _row(claim: str, chapter: str, measured: str, verdict: str) -> dict[str, str]:
    return {"claim": claim, "chapter": chapter, "measured": measured, "verdict": verdict}


def _ends(run, place: str) -> tuple[str, str]:
    return f"1.{place}", f"{run.definition.network.depth}.{place}"


def _accuracy(run) -> dict[str, str]:
    accuracy = run.table("probes").set_index("site")["test_accuracy"]
    pairs = [(accuracy[a], accuracy[b]) for a, b in (_ends(run, "mha"), _ends(run, "ff"))]
    text = "; ".join(f"`{p}` {a:.1%} to {b:.1%}" for p, (a, b) in zip(("mha", "ff"), pairs, strict=True))
    holds = all(b > a for a, b in pairs)
    claim = "the label becomes easier to read along the encoders"
    return _row(claim, "[2](02-probes.ipynb)", f"probe accuracy, first to last encoder: {text}", _verdict(holds))


def _clusters(run) -> dict[str, str]:
    site = _ends(run, "mha")[1]
    found = snp.site_statistics(run.nodes(site))
    text = (
        f"`{site}`: {found['clusters_per_node']:.1f} clusters a node of {found['cluster_size']:.1f} labels,"
        f" and {found['noise']:.0f} ones of noise"
    )
    holds = found["cluster_size"] < 0.1 * len(run.label_names)
    claim = "each node identifies small clusters of labels, plus noise"
    return _row(claim, "[3](03-nodes.ipynb)", text, _verdict(holds))


def _sharpening(run) -> dict[str, str]:
    text, grows = [], {"readout": [], "input": []}
    for place in SHARPENED:
        ends = _ends(run, place)
        snr = {silencing: [_snr(run, site, silencing) for site in ends] for silencing in grows}
        null = [snp.relabelled_snr(run.nodes(site)) for site in ends]
        text.append(
            f"`{place}` {snr['readout'][0]:.2f} to {snr['readout'][1]:.2f} (shuffled labels: {null[0]:.2f} to"
            f" {null[1]:.2f}; input silenced: {snr['input'][0]:.2f} to {snr['input'][1]:.2f})"
        )
        if snr["readout"][1] - null[1] > snr["readout"][0] - null[0]:
            grows["readout"].append(place)
        if snr["input"][1] > snr["input"][0]:
            grows["input"].append(place)
    verdict = (
        f"read-out silenced: {_where(grows['readout'], SHARPENED)}; input silenced: {_where(grows['input'], SHARPENED)}"
    )
    claim = "these features sharpen: the signal-to-noise ratio grows"
    return _row(claim, "[4](04-sharpening.ipynb)", "SNR, first to last encoder: " + "; ".join(text), verdict)


def _where(places: list[str], judged: Sequence[str], name: str = "`{}`") -> str:
    if places and len(places) < len(judged):
        return f"holds at {', '.join(map(name.format, places))} only"
    return _verdict(bool(places))


def _snr(run, site: str, silencing: str) -> float:
    return snp.site_statistics(run.nodes(site, "test", silencing))["snr"]


def _pruning(run) -> dict[str, str]:
    found = pruning_tables.verdict(pruning_tables.of_seeds(run.seeds("andc")), "retrained", snp.THRESHOLD)
    text = (
        f"{found.kept:.0%} of the feed-forward weights kept, retrained: {found.andc:.1%}; unpruned {found.dense:.1%},"
        f" permuted control {found.control:.1%}, by magnitude {found.magnitude:.1%}"
    )
    verdict = f"{_verdict(not found.costs)}; against its control {found.against('control')}"
    return _row("ANDC pruning does not affect the accuracy", "[5](05-pruning.ipynb)", text, verdict)


def _experts(run) -> dict[str, str]:
    last = run.table("heads_encoders").iloc[-1]
    text = (
        f"last encoder: polarisation {last['observed']:.2f}, random heads {last['null_mean']:.2f} (z = {last['z']:.1f};"
        f" probe on shuffled labels {last['shuffled_z']:.1f}); counts against damage by removal: rank correlation"
        f" {last['damage_rho']:.2f} ({last['damage_low']:.2f} to {last['damage_high']:.2f})"
    )
    claim = "the heads' symmetry breaks: each becomes the expert for some labels"
    return _row(claim, "[6](06-heads.ipynb)", text, _verdict(_broken(last)))


def _broken(last) -> bool:
    """The rule of claim 5, for the last encoder's row of the table "heads_encoders"."""
    return bool(last["p"] < 0.01 and not last["z"] <= last["shuffled_z"] and last["damage_low"] > 0)


def mechanism(run) -> dict[str, str]:
    """The row of claim 6 alone."""
    claim, chapter = "CNNs share this mechanism", "[7](07-cnn.ipynb)"
    if not run.has("cnn"):
        return _row(claim, chapter, "no CNN was trained on this run's images", "not measured")
    found, text, holds = filters.growth(run.table("cnn")), [], []
    for readout in filters.READOUTS:
        trained, untrained = found.loc[f"CNN, {readout}"], found.loc[f"untrained, {readout}"]
        text.append(
            f"{readout} {trained['first']:.2f} to {trained['last']:.2f} (shuffled labels: {trained['null_first']:.2f}"
            f" to {trained['null_last']:.2f}; untrained: {untrained['first']:.2f} to {untrained['last']:.2f})"
        )
        if trained["change"] > max(0.0, untrained["change"]):
            holds.append(readout)
    verdict = _where(holds, filters.READOUTS, "the {} read-out")
    return _row(claim, chapter, f"SNR of filters, first to last block: {'; '.join(text)}", verdict)


def language(networks: Mapping[str, Sequence]) -> dict[str, str]:
    """The front page's row on a sentence encoder; `networks` as `lib.experiments.language.by_kind` gives them.

    It is judged by what claims 3 and 5 ask, and by one control more, the same network at random weights:

    - the SNR of the network fine-tuned on the labels: holds at a place if in every seed its excess over the SNR with
      shuffled output labels grows from first to last encoder, and by more than at random weights;
    - separately, the same of the network as published, of which the read-out alone was trained;
    - separately, if the fine-tuned network's SNR grows in every seed when the other nodes' input is silenced;
    - its heads: holds if in every seed the rule of claim 5 does, and polarisation at the last encoder exceeds that of
      random heads by more standard deviations than in the untrained network.

    What lacks a network that it is judged by is not measured.
    """
    claim, chapter = "the same mechanism in a language model", "[9](09-language.ipynb)"
    growth = networks_of_language.growth(networks_of_language.along(networks, ends=True))
    tuned, told, verdicts = networks.get("fine-tuned", ()), [], {}
    for name in ("fine-tuned", "as published"):
        verdicts[f"SNR, {name}"] = _judged(networks_of_language.sharper(growth, name))
        if len(part := growth[growth["network"] == name]):
            told.append(f"{name}, SNR, first to last encoder: {_snr_beside_controls(part, growth)}")
    alone = {p: [[_snr(run, s, "input") for s in _ends(run, p)] for run in tuned] for p in SHARPENED if tuned}
    if alone:
        means = {p: np.mean(seeds, axis=0) for p, seeds in alone.items()}
        text = (f"`{p}` {first:.2f} to {last:.2f}" for p, (first, last) in means.items())
        told.append(f"fine-tuned, input silenced: {'; '.join(text)}")
    grows = [p for p, seeds in alone.items() if all(last > first for first, last in seeds)]
    verdicts["input silenced"] = _judged(grows if alone else None)
    last = pd.DataFrame([run.table("heads_encoders").iloc[-1] for run in tuned if run.has("heads")])
    if len(last):
        told.append(f"heads of the last encoder: {_heads(last)}")
        beyond = last.apply(lambda row: _broken(row) and not row["z"] <= row["untrained_z"], axis=1)
    verdicts["heads"] = _verdict(bool(beyond.all())) if len(last) else "not measured"
    if not told:
        return _row(claim, chapter, "no run on sentences has a result", "not measured")
    return _row(claim, chapter, ". ".join(told), "; ".join(f"{name}: {found}" for name, found in verdicts.items()))


def _judged(places: list[str] | None) -> str:
    return "not measured" if places is None else _where(places, SHARPENED)


def _snr_beside_controls(part: pd.DataFrame, growth: pd.DataFrame) -> str:
    untrained, text = growth[growth["network"] == "random weights"], []
    columns = ["first", "last", "null_first", "null_last"]
    for place in SHARPENED:
        found = part[part["place"] == place][columns].mean()
        controls = f"shuffled labels: {found['null_first']:.2f} to {found['null_last']:.2f}"
        if len(chance := untrained[untrained["place"] == place]):
            controls += f"; random weights: {chance['first'].mean():.2f} to {chance['last'].mean():.2f}"
        text.append(f"`{place}` {found['first']:.2f} to {found['last']:.2f} ({controls})")
    seeds = part["seed"].nunique()
    return "; ".join(text) + f", mean of {seeds} seeds" * (seeds > 1)


def _heads(last: pd.DataFrame) -> str:
    def told(column: str, digits: int = 2) -> str:
        low, high = (f"{value:.{digits}f}" for value in (last[column].min(), last[column].max()))
        return low if low == high else f"{low} to {high}"

    return (
        f"polarisation {told('observed')}, random heads {told('null_mean')} (z = {told('z', 1)}; probe on shuffled"
        f" labels {told('shuffled_z', 1)}; untrained {told('untrained_z', 1)}); counts against damage by removal: rank"
        f" correlation {told('damage_rho')} (lower end of its interval {told('damage_low')})"
    )


def _verdict(holds: bool) -> str:
    return "holds" if holds else "**does not hold here**"
