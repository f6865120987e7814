"""What explorers load when a reader asks for it: small scripts beside the book's pages, one a site of a run.

A script assigns numbers to a name, `<run>/<what>`, in a registry that `parts.js` reads. It is a script and no file of
data since a page that is read as a file, from a disk, may load nothing else. So a page holds only what it shows first,
and stays small however large the network is.
"""

from collections.abc import Iterable
from pathlib import Path

from lib.explorers import heads, nodes, pruning
from lib.explorers.page import literal
from lib.system import files


def write(folder: Path, runs: Iterable) -> dict[str, list[str]]:
    """Write what explorers can show of each run into `folder`, and the list of runs that they offer: run -> explorers.

    runs: as `lib.runs.load` gives them; a stage whose result is missing or stale is left out.
    """
    offered = {}
    for run in runs:
        found = {}
        if run.has("fields"):
            found["nodes"] = nodes.content(run)
            for site in run.readable_sites:
                _write(folder, f"{run.name}/{site}", nodes.numbers(run, site))
        if run.has("fields") and run.has("heads"):
            found["heads"] = heads.content(run)
        whole = list(run.readable_sites) == list(run.sites)  # else the label sets of training data are not at hand
        if run.has("fields") and run.has("andc") and whole:
            found["pruning"] = pruning.content(run)
            for encoder in found["pruning"]["encoders"]:
                _write(folder, f"{run.name}/pruning-{encoder}", pruning.numbers(run, encoder))
        for name, content in found.items():
            _write(folder, f"{run.name}/{name}", content)
        if found:
            offered[run.name] = list(found)
    _write(folder, "runs", offered)
    return offered


def _write(folder: Path, name: str, content):
    path = folder / f"{name}.js"
    text = f"(window.modusParts=window.modusParts||{{}})[{literal(name)}]={literal(content)};\n"
    files.write_bytes(path, text.encode())
