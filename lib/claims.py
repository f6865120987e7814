"""The paper's claims, each with its measure, all its controls and a verdict, all computed from a run and its seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from lib import snp
from lib.experiments import filters, heads_tables, pruning_tables, pruning_verdict, sharpening
from lib.findings import HOLDS, NOT, PART, UNMEASURED, Finding, Networks, at_which, unmeasured, where_it_holds
from lib.system.errors import unknown
from lib.system.words import listed

SHARPENED = ("mha", "ff_hidden", "ff")  # places at which claim 3 is judged
PLACES = ("mha", "ff")  # at which claims 1 and 2 are judged
SILENCED = {"readout": "read-out", "input": "input"}


def claims(*runs) -> list[Finding]:
    """The findings on each claim of the paper's abstract, claim by claim. The rules of the verdicts:

    1. holds at a place, `mha` or `ff`, if in every seed the probe's accuracy grows from the first encoder to the last,
       and by more than in the untrained network; in part if at one of the two;
    2. judged at `mha` and at `ff` of the last encoder. Does not hold if in any seed the clusters at one of them have on
       average a tenth of the labels or more; else holds if in every seed a node has more labels in clusters, and the
       site a higher SNR, than with shuffled output labels (by two standard deviations over shufflings) and than in the
       untrained network (by two standard errors over nodes); in part if some of these comparisons do, and those that do
       not are named. More labels in clusters may mean larger clusters, and the SNR counts the same labels, but falls
       with the noise beside them;
    3. at each of three places, by either convention of silencing and at each of the thresholds 0.2 to 0.7: the SNR
       sharpens if in every seed its excess over the SNR with shuffled output labels grows from the first encoder to the
       last, and by more than in the untrained network, by two standard errors over nodes and shufflings (of the trained
       network; nodes count as independent). Holds if it sharpens in all these cases, does not hold if at the book's
       threshold it sharpens in none, else holds in part;
    4. judged at the longest retraining that was measured (else after the short one of stage andc, and this is said),
       both feed-forward layers of all encoders pruned, at the thresholds of the recipe of retraining that were
       measured: holds if at each of them ANDC loses no more against the unpruned network, equally retrained, than two
       standard errors of two accuracies on so many images (mean over seeds), in part if at some; separately, its
       difference to each control, named with its number. Whether a difference is beyond chance is judged by the margin
       of error: of a 95 % interval over seeds by Student's t, and no less than over images. That no loss was found is
       not that there is none: the sentence says how large a loss lies within the margin of what was found;
    5. judged at the last encoder by every control that was measured, each of which speaks for the claim only if it does
       in every seed; `lib.experiments.heads_tables.controls` has their rules. Holds if all speak for it; does not hold
       if random heads or the untrained network explain the polarisation, for then training has broken nothing; in part
       otherwise. Those that speak against it are named;
    6. holds at a read-out, pooled or flattened, if in CNNs trained on the same images the SNR's excess over the SNR
       with shuffled output labels grows from first to last block, and by more than in the untrained CNN, in every
       seed; in part if at one of the two. Not all stored tables of CNNs have errors over filters, so that this is
       judged without. What the transformer does is claim 3.

    Where the untrained network was not measured, the rules that name it do without, and the evidence shows that. Of a
    run without heads, pruned networks or a CNN these claims are not measured.
    """
    return [found for chapter in RULES for found in findings(chapter, *runs)]


def findings(chapter: str, *runs) -> list[Finding]:
    """What each run says about the claim of a chapter; those that have not measured it left out where one has.

    ValueError for a chapter that is about no claim.
    """
    if chapter not in RULES:
        raise unknown("chapter on a claim", chapter, RULES)
    found = [replace(RULES[chapter](run), networks=_networks(run, chapter)) for run in runs]
    return [each for each in found if each.verdict != UNMEASURED] or found[:1]


def _networks(run, chapter: str) -> Networks | None:
    stage = next((stage for stage in STAGES.get(chapter, ("fields",)) if run.has(stage)), None)
    accuracy = "cnn_test_accuracy" if stage == "cnn" else "test_accuracy"
    return stage and Networks(run.name, tuple(each.results[accuracy] for each in run.seeds(stage)))


def _accuracy(run) -> Finding:
    found = sharpening.accuracy_of_seeds(run.seeds("fields"), PLACES)
    places = found.groupby("place", sort=False)
    mean = places[["first", "last", "untrained_first", "untrained_last"]].mean()

    def goes(place: str, r: pd.Series) -> str:
        bare = f" (untrained: from {r['untrained_first']:.1%} to {r['untrained_last']:.1%})"
        return f"from {r['first']:.1%} to {r['last']:.1%} at `{place}`" + bare * bool(pd.notna(r["untrained_last"]))

    return Finding(
        "the label becomes easier to read along the encoders",
        "02-probes",
        *where_it_holds(places["rises"].all(), "`{}`"),
        "From the first encoder to the last, the probes' accuracy goes "
        + listed(goes(place, r) for place, r in mean.iterrows())
        + ".",
        found,
        "{:.1%}",
    )


def _clusters(run) -> Finding:
    seeds = run.seeds("fields")
    found = pd.concat([sharpening.clusters_of_seeds(seeds, place) for place in PLACES], ignore_index=True)
    small = (found[found["network"] == "trained"]["cluster_size"] < 0.1 * len(run.label_names)).all()
    controls = found[found["network"] != "trained"].groupby(["place", "network"], sort=False)
    compared = [
        heads_tables.Control(f"{measured} at `{place}` ({name})", "", tuple(part[column]))
        for (place, name), part in controls
        for column, measured in (("fewer_labels", "labels in clusters"), ("lower_snr", "SNR"))
    ]
    speaks = [control.speaks for control in compared]
    part = small and any(speaks) and not all(speaks)
    return Finding(
        "each node identifies small clusters of labels, plus noise",
        "03-nodes",
        HOLDS if small and all(speaks) else PART if part else NOT,
        _against(compared) if part else "",
        f"Of {len(run.label_names)} labels, in the last encoder, "
        + "; ".join(_recognised(place, part) for place, part in found.groupby("place", sort=False))
        + ".",
        found.rename(
            columns={
                "recognised": "labels in clusters",
                "snr": "SNR",
                "fewer_labels": "has fewer labels",
                "lower_snr": "has a lower SNR",
            }
        ),
        plain=f"Of {len(run.label_names)} labels, in the last encoder, a node "
        + "; ".join(_counted(place, part) for place, part in found.groupby("place", sort=False))
        + ".",
    )


def _counted(place: str, found: pd.DataFrame) -> str:
    """How many labels a node of a place has in clusters, in brackets the same in the controls; means over seeds."""
    mean = found.groupby("network", sort=False)["recognised"].mean()
    controls = ", ".join(f"{name}: {labels:.1f}" for name, labels in mean.drop("trained").items())
    return f"of `{place}` has {mean['trained']:.1f} in clusters ({controls})"


def _recognised(place: str, found: pd.DataFrame) -> str:
    """What a node of a place has in its clusters, in brackets what it has in the controls; means over seeds."""
    mean = found.groupby("network", sort=False)[list(sharpening.COMPARED)].mean()
    (_, here), *others = mean.iterrows()

    def labels(r: pd.Series) -> str:
        return f"{r['recognised']:.1f} in clusters of {r['cluster_size']:.1f}"

    of_controls = "; ".join(f"{name}: {labels(r)}" for name, r in others)
    ratios = "; ".join(f"{name}: {r['snr']:.1f}" for name, r in others)
    return (
        f"a node of `{place}` has {labels(here)} ({of_controls}), beside {here['noise']:,.0f} ones of noise, and the"
        f" SNR is {here['snr']:.1f} ({ratios})"
    )


def _sharpening(run) -> Finding:
    found = sharpening.growth_of_seeds(run.seeds("fields"), SHARPENED)
    cases, seeds = found.groupby(level=found.index.names, sort=False)["sharpens"].all(), found["seed"].nunique()
    at = found.xs(snp.THRESHOLD, level="threshold", drop_level=False)
    here = cases.xs(snp.THRESHOLD, level="threshold")
    where = f"at threshold {snp.THRESHOLD:g} it sharpens " + "; ".join(
        f"with the {name} silenced {at_which(here.xs(silencing, level='silencing'))}"
        for silencing, name in SILENCED.items()
    )
    if here.all():
        failed = cases[~cases].reset_index().groupby(["place", "silencing"], sort=False)["threshold"]
        where = f"at threshold {snp.THRESHOLD:g} it sharpens everywhere, at others not " + "; ".join(
            f"at `{place}` with the {SILENCED[silencing]} silenced ({listed(map('{:g}'.format, thresholds))})"
            for (place, silencing), thresholds in failed
        )
    part = here.any() and not cases.all()
    return Finding(
        "these features sharpen: the signal-to-noise ratio grows",
        "04-sharpening",
        HOLDS if cases.all() else PART if part else NOT,
        where if part else "",
        f"The signal-to-noise ratio goes {grown(at.xs('readout', level='silencing'))}. It sharpens in {cases.sum()} of"
        f" {len(cases)} combinations of place, silencing and threshold"
        + f", counted where it does in each of {seeds} seeds" * (seeds > 1)
        + ".",
        at.reset_index().rename(columns=GROWTH),
        plain=f"The signal-to-noise ratio goes {ends(at.xs('readout', level='silencing'))}. Beyond shuffled labels"
        + " and the untrained network" * bool(at["untrained"].notna().all())
        + f" it sharpens in {cases.sum()} of {len(cases)} combinations of place, silencing and threshold.",
    )


GROWTH = {  # columns of `sharpening.growth` and what is built on it, for readers
    "first": "SNR, first layer",
    "last": "SNR, last layer",
    "null_first": "shuffled labels, first",
    "null_last": "shuffled labels, last",
    "change": "growth of the excess",
    "error": "its standard error",
    "untrained": "growth, untrained",
    "rising": "steps upward",
    "steps": "of steps",
    "best": "largest excess at layer",
    "rho": "rank correlation with the probe's accuracy",
}


def grown(growth: pd.DataFrame) -> str:
    """What `sharpening.growth_of_seeds` found at each place, mean over seeds, beyond shuffled labels and untrained."""
    mean = growth.groupby(level="place", sort=False)[["change", "untrained"]].mean()
    return f"{ends(growth)}; {_changed(mean['change'], mean['untrained'], 'untrained network')}"


def ends(growth: pd.DataFrame) -> str:
    """The SNR of the first and the last encoder at each place, mean over seeds."""
    mean = growth.groupby(level="place", sort=False)[["first", "last"]].mean()
    return listed(f"from {r['first']:.1f} to {r['last']:.1f} at `{place}`" for place, r in mean.iterrows())


def _changed(change: pd.Series, untrained: pd.Series, name: str) -> str:
    told = f"in this order, its excess over shuffled labels changes by {listed(map(_signed, change))}"
    return told + f", in the {name} by {listed(map(_signed, untrained))}" * bool(untrained.notna().all())


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"


def _pruning(run) -> Finding:
    claim, chapter = "pruning by what nodes recognise (ANDC) does not affect the accuracy", "05-pruning"
    if not (stage := next((s for s in ("retraining", "andc") if run.has(s)), None)):
        return unmeasured(claim, chapter, "No network was pruned by this run.")
    found = pruning_verdict.judge(run.seeds(stage), run.definition.retraining.thresholds)
    harmless = pd.Series([not d.lost for d in found.against("dense")], [f"{t:g}" for t in found.thresholds])
    dense = listed(
        f"{d.accuracy:.1%} to {d.andc:.1%} ({d.kept:.0%} kept{_left_open(d)})" for d in found.against("dense")
    )
    controls = [d for d in found.differences if d.other != "dense"]
    gained = "; ".join(
        f"at threshold {t:g} " + listed(found.named(d) for d in controls if d.threshold == t)
        for t in sorted({d.threshold for d in controls})
    )
    beside = f" Its points beyond each control with as many weights: {gained}; in brackets: within the margin of error."
    evidence = [
        {
            "threshold": f"{d.threshold:g}",
            "kept (%)": 100 * d.kept,
            "compared with": pruning_tables.NAMES[d.other],
            "its accuracy (%)": 100 * d.accuracy,
            "ANDC (%)": 100 * d.andc,
            "difference (points)": 100 * d.mean,
            "beyond the margin of error": bool(d.sign),
            "seeds": d.seeds,
        }
        for d in found.differences
    ]
    return Finding(
        claim,
        chapter,
        *where_it_holds(harmless, "threshold {}"),
        f"With both feed-forward layers of all encoders pruned, {found.how},"
        f" accuracy goes from {dense}. This retraining {found.by_itself}." + beside * bool(controls),
        pd.DataFrame(evidence),
        "{:.1f}",
        plain="The pruned network's accuracy is "
        + listed(
            f"{d.andc:.1%} with {d.kept:.0%} of the weights kept (unpruned: {d.accuracy:.1%})"
            for d in found.against("dense")
        )
        + f", {found.retraining}, which {found.by_itself}."
        + f" Beside masks of as many weights it is {_beside_controls(found)}." * bool(controls),
    )


def _beside_controls(found: pruning_verdict.Judgement) -> str:
    """Than which controls ANDC is better or worse at every threshold."""
    signs = {name: {d.sign for d in found.against(name)} for name in found.controls}
    words = {"better than": {1}, "level within the margin of error with": {0}, "worse than": {-1}}
    alike = {word: [pruning_tables.NAMES[n] for n, of in signs.items() if of == sign] for word, sign in words.items()}
    told = [f"{word} {listed(names)}" for word, names in alike.items() if names]
    other = [pruning_tables.NAMES[n] for n, of in signs.items() if len(of) > 1]
    return "; ".join([*told, *[f"one or the other, by threshold, beside {listed(other)}"] * bool(other)])


def _left_open(difference: pruning_verdict.Difference) -> str:
    if difference.sign < 0:
        return "; a loss beyond the margin of error"
    if difference.lost:
        return "; a loss beyond test images' errors, though not beyond that of so few seeds"
    loss = 100 * (difference.margin - difference.mean)
    return "" if difference.sign else f"; the margin of error leaves a loss of {loss:.1f} points open"


def _experts(run) -> Finding:
    claim, chapter = "the heads' symmetry breaks: each becomes the expert for some labels", "06-heads"
    if not run.has("heads"):
        return unmeasured(claim, chapter, "The heads of this run were not measured.")
    runs = run.seeds("heads")
    found, last = heads_tables.controls(runs), pd.DataFrame([heads_tables.last(each) for each in runs])
    verdict, where = of_controls(found)
    beside = last[["observed", "null_mean"]].mean()
    return Finding(
        claim,
        chapter,
        verdict,
        where,
        f"At the last encoder polarisation is {beside['observed']:.2f}, of random heads {beside['null_mean']:.2f}."
        f" {sum(c.speaks for c in found)} of {len(found)} controls speak for the claim"
        + f": {', '.join(c.name for c in found if c.speaks)}" * any(c.speaks for c in found)
        + ".",
        pd.DataFrame({"control": c.name, "found": c.found, "speaks for the claim": c.speaks} for c in found),
    )


def of_controls(found: Sequence[heads_tables.Control]) -> tuple[str, str]:
    against = {control.name for control in found if not control.speaks}
    return NOT if against & set(heads_tables.SYMMETRY) else PART if against else HOLDS, _against(found)


def _against(controls: Sequence[heads_tables.Control]) -> str:
    """Those of the controls that speak against a claim; nothing where none does."""
    named = ", ".join(str(control) for control in controls if not control.speaks)
    return f"against it: {named}" if named else ""


def _mechanism(run) -> Finding:
    claim, chapter = "CNNs share this mechanism", "07-cnn"
    if not run.has("cnn"):
        return unmeasured(claim, chapter, "No CNN was trained on this run's images.")
    seeds = run.seeds("cnn")
    found = pd.concat([filters.growth(r.table("cnn")).assign(seed=r.definition.seed) for r in seeds])
    cnn, untrained = ({r: found.loc[[f"{of}, {r}"]] for r in filters.READOUTS} for of in ("CNN", "untrained"))
    changes = pd.DataFrame(
        {r: (cnn[r]["change"].mean(), untrained[r]["change"].mean()) for r in filters.READOUTS}, ["CNN", "untrained"]
    )
    grows = pd.Series(
        {
            r: filters.beyond(*(part[r]["change"].to_numpy() for part in (cnn, untrained))).all()
            for r in filters.READOUTS
        }
    )
    goes = listed(f"from {part['first'].mean():.1f} to {part['last'].mean():.1f} ({r})" for r, part in cnn.items())
    changed = _changed(changes.loc["CNN"], changes.loc["untrained"], "untrained CNN")
    largest = listed(f"{', '.join(f'{b:g}' for b in _once(part['best']))} ({r})" for r, part in cnn.items())
    return Finding(
        claim,
        chapter,
        *where_it_holds(grows, "the {} read-out"),
        f"From the first block to the last the signal-to-noise ratio of filters goes {goes}"
        + f", means over {len(seeds)} seeds" * (len(seeds) > 1)
        + f"; {changed}. The excess is largest at block"
        f" {largest} of {found['steps'].max() + 1}. This rule is milder than that of transformers:"
        " one threshold, one way of silencing, no errors over filters.",
        found.reset_index().rename(columns=GROWTH),
        plain=f"From the first block to the last the signal-to-noise ratio of filters goes {goes}; {changed}.",
    )


def _once(values: Iterable[float]) -> list[float]:
    """One value for all where all are alike."""
    values = list(values)
    return values[:1] if len(set(values)) == 1 else values


RULES = {
    "02-probes": _accuracy,
    "03-nodes": _clusters,
    "04-sharpening": _sharpening,
    "05-pruning": _pruning,
    "06-heads": _experts,
    "07-cnn": _mechanism,
}
STAGES = {  # what a rule is about where that is not `fields`; the first that was measured
    "05-pruning": ("retraining", "andc"),
    "06-heads": ("heads",),
    "07-cnn": ("cnn",),
}
