"""`python tests/stage_code.py` records the code of the stages as it is, in `stage_code.json`: see `test_stages.py`."""

import ast
import hashlib
import json
from pathlib import Path

from lib.runs.stages import STAGES
from test_layout import FILES, imports, room

RECORD = Path(__file__).with_name("stage_code.json")
TREE = ast.parse(FILES["lib.runs.stages"].read_text(encoding="utf-8"))
FUNCTIONS = {node.name: node for node in TREE.body if isinstance(node, ast.FunctionDef)}
MACHINERY = {"runs", "system"}  # rooms that make no number


def digest(tree: ast.AST) -> str:
    """Hash over code alone: without comments, docstrings and imports."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                n
                for n in body
                if not isinstance(n, ast.Import | ast.ImportFrom)
                and not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
            ]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]


def functions(name: str, found: frozenset[str] = frozenset()) -> frozenset[str]:
    """A function of `stages.py` and the others there that it calls."""
    found |= {name}
    for node in ast.walk(FUNCTIONS[name]):
        if isinstance(node, ast.Name) and node.id in FUNCTIONS and node.id not in found:
            found |= functions(node.id, found)
    return found


def modules(stage: str) -> set[str]:
    """The files that a stage computes with: what its functions name, and what that imports, machinery apart."""
    called = functions(STAGES[stage].compute.__name__)
    used = {n.id for name in called for n in ast.walk(FUNCTIONS[name]) if isinstance(n, ast.Name)}
    named = {
        full if (full := f"{node.module}.{alias.name}") in FILES else node.module
        for node in TREE.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (alias.asname or alias.name) in used
    }
    found, waiting = set(), named & set(FILES)
    while waiting:
        found |= waiting
        waiting = {m for module in waiting for m in imports(module)} - found
        waiting = {m for m in waiting if room(m) not in MACHINERY}
    return {m for m in found if room(m) not in MACHINERY}


def code(stage: str) -> dict[str, str]:
    """Digest of each file, and of each function of `stages.py`, that a stage computes with."""
    found = {name: digest(FUNCTIONS[name]) for name in functions(STAGES[stage].compute.__name__)}
    found |= {m: digest(ast.parse(FILES[m].read_text(encoding="utf-8"))) for m in modules(stage)}
    return found


def current() -> dict:
    """Version of each stage, and digest of all code that stages compute with."""
    every = {name: value for stage in STAGES for name, value in code(stage).items()}
    return {"versions": {stage: about.version for stage, about in STAGES.items()}, "code": dict(sorted(every.items()))}


if __name__ == "__main__":
    RECORD.write_text(json.dumps(current(), indent=1) + "\n", encoding="utf-8")
