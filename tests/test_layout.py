"""The house: files directly in `lib/` are science, folders are machinery, and imports go one way."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_LAYERS = 8
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "lib").rglob("*.py")
}


@cache
def imports(module: str) -> frozenset[str]:
    """The files of `lib` that a file imports, by name of module; a package stands for its `__init__.py`."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lib":
            found |= {name if (name := f"{node.module}.{a.name}") in FILES else node.module for a in node.names}
    return frozenset(found - {module})


def room(module: str) -> str:
    """A file directly in `lib/`, or the folder in it that a file belongs to."""
    return module.split(".")[1] if "." in module else ""


def layers(graph: dict[str, set[str]]) -> dict[str, int]:
    """On which layer each node of a graph stands, from 1: one above the highest that it imports."""
    found: dict[str, int] = {}
    for node in TopologicalSorter(graph).static_order():
        found[node] = 1 + max((found[n] for n in graph.get(node, ())), default=0)
    return found


def test_no_imports_go_in_a_circle():
    layers({module: set(imports(module)) for module in FILES})
    with pytest.raises(CycleError):
        layers({"a": {"b"}, "b": {"a"}})


def test_rooms_stand_in_few_layers():
    rooms: dict[str, set[str]] = {}
    for module in FILES:
        rooms.setdefault(room(module), set()).update({room(m) for m in imports(module)} - {room(module)})
    found = layers(rooms)
    assert max(found.values()) <= MOST_LAYERS, found


def test_what_is_arrays_only_imports_neither_torch_nor_a_network():
    for name in ("snp", "heads", "andc"):
        tree = ast.parse(FILES[f"lib.{name}"].read_text(encoding="utf-8"))
        outside = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        outside |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)} - {"lib"}
        assert outside <= {"collections", "dataclasses", "numpy", "scipy"}, name
        assert {m.removeprefix("lib.") for m in imports(f"lib.{name}")} <= {"snp", "system.errors"}, name
