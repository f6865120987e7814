"""The extension to language: the finding on a sentence encoder, judged as claims 3 and 5 are."""

from collections.abc import Mapping, Sequence

import pandas as pd

from lib import snp
from lib.claims import SHARPENED, SILENCED, grown, of_controls
from lib.experiments import heads_tables, language, sharpening
from lib.findings import HOLDS, NOT, PART, UNMEASURED, Finding, Networks, judged


def finding(networks: Mapping[str, Sequence]) -> Finding:
    """The finding on a sentence encoder; `networks` as `lib.experiments.language.by_kind` gives them.

    It is judged as claims 3 and 5 are, at the book's threshold, with the same network at random weights for the
    untrained one:

    - the SNR of the network fine-tuned on the labels, once with the read-out silenced and once with the input: holds if
      it sharpens at all three places, in part if at some;
    - separately, the same of the network as published, of which the read-out alone was trained;
    - the heads of the fine-tuned network.

    Holds if all of these do, does not hold if none does, else in part. What lacks a network is not measured.
    """
    networks = language.beside_random_weights(networks, (snp.THRESHOLD,))
    parts, rows, told = {}, [], []
    for name in ("fine-tuned", "as published"):
        growth = None
        if runs := networks.get(name):
            growth = sharpening.growth_of_seeds(runs, SHARPENED, (snp.THRESHOLD,)).droplevel("threshold")
            rows += _snr_beside_controls(name, growth)
            told = told or [f"{name}, the signal-to-noise ratio of nodes goes {grown(growth.xs('readout', level=1))}"]
        parts |= {(f"the SNR grows, {name}", f"{word} silenced"): _sharpened(growth, s) for s, word in SILENCED.items()}
    parts["heads", ""] = UNMEASURED, ""
    if tuned := [run for run in networks.get("fine-tuned", ()) if run.has("heads")]:
        found = heads_tables.controls(tuned)
        parts["heads", ""] = of_controls(found)
        rows += [(f"heads, {c.name}", c.found, "", c.speaks) for c in found]
    verdicts = {verdict for verdict, _ in parts.values()} - {UNMEASURED}
    first = next((runs for name in ("fine-tuned", "as published") if (runs := networks.get(name))), ())
    seeds = tuple(run.results["test_accuracy"] for run in first)
    return Finding(
        "the same mechanism in a language model",
        "09-language",
        PART if len(verdicts) > 1 else verdicts.pop() if verdicts else UNMEASURED,
        _of_language(parts) if rows else "",
        f"In a sentence encoder, {told[0]}." if told else "No run on sentences has a result.",
        pd.DataFrame(rows, columns=["measured", "found", "its controls", "speaks for the claim"]),
        networks=Networks(first[0].name, seeds) if rows else None,
    )


def _of_language(parts: Mapping[tuple[str, str], tuple[str, str]]) -> str:
    """Each part's verdict; of a network's SNR where it sharpens, told apart by what was silenced if that matters."""
    found: dict[str, dict[str, str]] = {}  # by name and text: what was silenced
    for (name, how), (verdict, where) in parts.items():
        in_places = where or {HOLDS: "everywhere", NOT: "nowhere"}.get(verdict, verdict)
        found.setdefault(name, {})[in_places if how else verdict + f" ({where})" * bool(where)] = how
    return "; ".join(
        f"{name}: {', '.join(text + f' ({how})' * (len(texts) > 1) for text, how in texts.items())}"
        for name, texts in found.items()
    )


def _sharpened(growth: pd.DataFrame | None, silencing: str) -> tuple[str, str]:
    """The verdict over places; not measured without the network, or that at random weights."""
    if growth is None or growth["untrained"].isna().any():
        return UNMEASURED, ""
    holds = growth.xs(silencing, level="silencing").groupby(level="place", sort=False)["sharpens"].all()
    verdict = judged(holds)
    return verdict, f"at {', '.join(f'`{place}`' for place in holds.index[holds])}" if verdict == PART else ""


def _snr_beside_controls(name: str, growth: pd.DataFrame) -> list[tuple[str, str, str, bool | None]]:
    rows, seeds = [], growth["seed"].nunique()
    for (place, silencing), part in growth.groupby(level=["place", "silencing"], sort=False):
        r = part[["first", "last", "null_first", "null_last", "change", "error", "untrained"]].mean()
        untrained = f"{r['untrained']:+.2f}" if pd.notna(r["untrained"]) else "not measured"
        rows.append(
            (
                f"SNR at `{place}`, {name}, {SILENCED[silencing]} silenced",
                f"{r['first']:.2f} to {r['last']:.2f}" + f", mean of {seeds} seeds" * (seeds > 1),
                f"shuffled labels: {r['null_first']:.2f} to {r['null_last']:.2f}; change of the excess over"
                f" them {r['change']:+.2f} (standard error of a seed {r['error']:.2f}); the same at random weights:"
                f" {untrained}",
                bool(part["sharpens"].all()) if pd.notna(r["untrained"]) else None,
            )
        )
    return rows
