"""The paper's claims, each with its measure, its control and a verdict, all computed from a run."""

from collections.abc import Sequence

from lib import snp
from lib.experiments import filters, heads_tables, pruning_verdict

SHARPENED = ("mha", "ff_hidden", "ff")  # places at which claim 3 is judged


def claims(run) -> list[dict[str, str]]:
    """One row a claim of the paper's abstract: claim, chapter, measured, verdict. The rules of the verdicts:

    1. holds if the probes at `mha` and at `ff` are more accurate at the last encoder than at the first;
    2. holds if the clusters of the last encoder's `mha` nodes have on average less than a tenth of the labels;
    3. holds at a place if the SNR's excess over the SNR with shuffled output labels grows from first to last encoder;
       separately, if the SNR grows when the other nodes' input is silenced instead of their read-out;
    4. judged at the longest retraining that was measured (else after the short one of stage andc, and this is said),
       both feed-forward layers of all encoders pruned, at the thresholds of the recipe of retraining that were
       measured: holds if at each of them ANDC loses no more against the unpruned network, equally retrained, than two
       standard errors over seeds, in part if at some; separately, its difference to each control, named with its
       number. With one seed the standard error is that of two accuracies on so many images;
    5. judged at the last encoder by every control that was measured, each of which speaks for the claim only if it does
       in every seed; `lib.experiments.heads_tables.controls` has their rules. Holds if all speak for it; does not hold
       if random heads or the untrained network explain the polarisation, for then training has broken nothing; in part
       otherwise. Those that speak against it are named;
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
    stage = "retraining" if run.has("retraining") else "andc"
    found = pruning_verdict.judge(run.seeds(stage), run.definition.retraining.thresholds)
    text = []
    for dense in found.against("dense"):
        others = (d for d in found.differences if d.threshold == dense.threshold)
        accuracies = ", ".join(f"{pruning_verdict.NAMES[d.other]} {d.accuracy:.1%}" for d in others)
        text.append(f"at threshold {dense.threshold:g}, {dense.kept:.0%} kept, {dense.andc:.1%}; {accuracies}")
    verdict = _verdict(bool(found.harmless))
    if 0 < len(found.harmless) < len(found.thresholds):
        verdict = f"holds in part: at threshold {', '.join(f'{d.threshold:g}' for d in found.harmless)} only"
    against = (f"{pruning_verdict.NAMES[other]} {found.points(other)}" for other in ("dense", *found.controls))
    at = f"threshold{'s' * (len(found.thresholds) > 1)} {', '.join(f'{t:g}' for t in found.thresholds)}"
    return _row(
        "ANDC pruning does not affect the accuracy",
        "[5](05-pruning.ipynb)",
        f"{found.retraining}, {found.seeds} seed{'s' * (found.seeds > 1)}: {'; '.join(text)}",
        f"{verdict}; points gained at {at} against {'; '.join(against)} (in brackets: within two standard errors)",
    )


def _experts(run) -> dict[str, str]:
    found = heads_tables.controls(run.seeds("heads"))
    against = [control for control in found if not control.speaks]
    if any(control.name in heads_tables.SYMMETRY for control in against):
        verdict = _verdict(False)
    else:
        verdict = "holds in part" if against else _verdict(True)
    if against:
        verdict += f"; against it: {', '.join(control.name for control in against)}"
    rows = [heads_tables.last(each) for each in run.seeds("heads")]
    beyond = ", ".join(f"{row['observed']:.2f} (random heads {row['null_mean']:.2f})" for row in rows)
    text = "; ".join(f"{control.name}: {control.found}" for control in found)
    claim = "the heads' symmetry breaks: each becomes the expert for some labels"
    return _row(claim, "[6](06-heads.ipynb)", f"last encoder: polarisation {beyond}; {text}", verdict)


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


def _verdict(holds: bool) -> str:
    return "holds" if holds else "**does not hold here**"
