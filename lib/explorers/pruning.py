"""The pruning explorer: which weights ANDC keeps at a threshold, and the stored accuracies beside every control."""

from IPython.display import HTML

from lib import charts, snp
from lib.experiments import pruning_tables
from lib.explorers import packing
from lib.explorers.page import script
from lib.sites import at, parse
from lib.system.errors import unknown

PLACES = ("ff_in", "ff_hidden", "ff")  # between which the two feed-forward layers of an encoder lie


def pruning_page(run, encoder: int | None = None) -> HTML:
    """The masks of a run's feed-forward layers and classifier, and the accuracies of networks that were pruned so.

    encoder: where it opens, the last by default; the page holds that one, or all of a run that no book holds, and loads
    the others and other runs from beside it, see `lib.explorers.parts`. Nothing is pruned here: the masks follow from
    the label sets of training images, accuracies are read from the table "andc". ValueError for an unknown encoder.
    """
    shown = content(run, encoder)
    here = [shown["encoder"]] if shown["published"] else shown["encoders"]
    return script("pruning", run.name, "modusPruningExplorer", shown | {"parts": {e: numbers(run, e) for e in here}})


def content(run, encoder: int | None = None) -> dict:
    """What the page is told of a run: its layers' sizes, the label sets of its read-out, and its table "andc"."""
    encoders = [parse(site).encoder for site in at(run.sites, "ff_hidden")]
    encoder = encoder or encoders[-1]
    if encoder not in encoders:
        raise unknown("encoder", encoder, encoders)
    readout = run.readout()
    table = pruning_tables.of_seeds([run])
    rows = pruning_tables.select(table, layers="ff")
    rows = rows[rows["method"] != "dense"].groupby(["regime", "threshold", "method"], sort=False)
    rows = rows.agg(kept=("kept", "mean"), top1=("top1", "mean"), networks=("top1", "size")).reset_index()
    regimes = list(dict.fromkeys(rows["regime"]))
    return {
        "run": run.name,
        "published": getattr(run, "published", False),
        "labels": charts.base.named(run.label_names),
        "encoders": encoders,
        "encoder": encoder,
        "nodes": {place: run.weight(f"{encoder}.{place}").shape[1] for place in PLACES},
        "readout": packing.diagonal(readout),
        "readoutNodes": len(readout),
        "regimes": regimes,
        "table": rows.round(5).to_dict("records"),
        "dense": {regime: pruning_tables.dense(table, regime) for regime in regimes},
        "colours": charts.pruning.METHODS,
        "threshold": snp.THRESHOLD,
    }


def numbers(run, encoder: int) -> dict[str, str]:
    """The diagonals of the nodes that an encoder's feed-forward layers lie between, one byte a label."""
    return {place: packing.diagonal(run.nodes(f"{encoder}.{place}", "train")) for place in PLACES}
