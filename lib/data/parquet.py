"""Labelled images or sentences in parquet files, as on the Hugging Face hub: a row an image or a sentence.

The image column holds `{bytes, path}`, the content of a file, its path (beside the parquet file, unless it is absolute)
or lists of pixels, the text column sentences; the label column integers, whose names may stand in the schema's
metadata, or the names themselves.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

IMAGE_COLUMNS = ("img", "image")
TEXT_COLUMN = "text"
LABEL_COLUMNS = ("fine_label", "intent", "label")
COARSE_COLUMNS = ("coarse_label", "domain")

Sources = list[tuple[str, object]]  # of each image, where it stands and what `lib.data.images.decode` takes, or text


def holds_text(file: Path) -> bool:
    """Whether a file is one of sentences."""
    names = _opened(pq.read_schema, file).names
    return TEXT_COLUMN in names and not set(names) & set(IMAGE_COLUMNS)


def read(files: dict[str, list[Path]], split: str) -> tuple:
    """Sources, labels and their names, and coarse labels and names (None without) of a split in parquet files."""
    first = files[split][0]
    schema = _opened(pq.read_schema, first)
    content, label, coarse = (
        next((c for c in columns if c in schema.names), None)
        for columns in ((*IMAGE_COLUMNS, TEXT_COLUMN), LABEL_COLUMNS, COARSE_COLUMNS)
    )
    if content is None or label is None:
        raise ValueError(
            f"{first} must have an image column ({' or '.join(IMAGE_COLUMNS)}: {{bytes, path}}) or a column"
            f" {TEXT_COLUMN}, and a label column ({' or '.join(LABEL_COLUMNS)}: integers or text); it has"
            f" {', '.join(schema.names)}"
        )
    read_in = _sentences if content == TEXT_COLUMN else _sources
    sources = [source for f in files[split] for source in read_in(f, content)]
    if not sources:
        raise ValueError(f"{first} has no rows: it must have a row an image or a sentence")
    names = _names(schema)
    of_coarse = (None, None) if coarse is None else _labels(files, split, coarse, names)
    return sources, *_labels(files, split, label, names), *of_coarse


def _opened(reader: Callable, file: Path, **options):
    try:
        return reader(file, **options)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read as parquet; make or fetch it again: {error}") from error


def _cells(file: Path, column: str, fits: Iterable[Callable], expected: str) -> list:
    """A column of a file; ValueError unless its type, or what a dictionary holds, fits one of some predicates."""
    table = _opened(pq.read_table, file, columns=[column], partitioning=None)
    kind = table.schema.field(column).type if table.column_names else "no such column"
    plain = getattr(kind, "value_type", kind) if pa.types.is_dictionary(kind) else getattr(kind, "storage_type", kind)
    if isinstance(kind, str) or not any(fit(plain) for fit in fits):
        raise ValueError(f"{file}, column {column}: expected {expected}, got {kind}")
    return table.column(column).to_pylist()


def _sources(file: Path, column: str) -> Iterator[tuple[str, object]]:
    """Where each image of a file stands, and its content, path or pixels."""
    t = pa.types
    fits = (t.is_struct, t.is_binary, t.is_large_binary, t.is_string, t.is_large_string, t.is_list, t.is_large_list)
    for row, cell in enumerate(_cells(file, column, fits, "{bytes, path}, bytes, a path or lists of pixels")):
        if isinstance(cell, dict):
            cell = cell.get("bytes") or cell.get("path")
        yield f"{file}, row {row}", file.parent / cell if isinstance(cell, str) else cell


def _sentences(file: Path, column: str) -> Iterator[tuple[str, object]]:
    for row, cell in enumerate(_cells(file, column, (pa.types.is_string, pa.types.is_large_string), "text")):
        yield f"{file}, row {row}", cell


def _labels(files: dict[str, list[Path]], split: str, column: str, names: dict) -> tuple[np.ndarray, list[str]]:
    """Labels int64 (N,) of a split and their names: those of the schema, else the texts or numbers of all splits."""
    t = pa.types
    fits = (t.is_integer, t.is_string, t.is_large_string)

    def values(file: Path) -> list:
        found = _cells(file, column, fits, "integers or text")
        if None in found:
            raise ValueError(f"{file}, row {found.index(None)}: there is no label")
        return found

    labels = [label for f in files[split] for label in values(f)]
    if column in names and not isinstance(labels[0], str):
        return np.array(labels, np.int64), names[column]
    every = labels + [label for s in files if s != split for f in files[s] for label in values(f)]
    if len(kinds := {type(label).__name__ for label in every}) > 1:
        raise ValueError(f"{files[split][0]}, column {column}: labels must be of one type in all files, got {kinds}")
    if isinstance(every[0], str):
        found = sorted(set(every))
        number = {name: i for i, name in enumerate(found)}
        return np.array([number[label] for label in labels]), found
    if not 0 <= min(every) <= max(every) < len(every):
        raise ValueError(
            f"{files[split][0]}, column {column}: labels without names must be numbered from 0 to less than the number"
            f" of rows, {len(every)}, got {min(every)} to {max(every)}; number them so, or write their names"
        )
    return np.array(labels, np.int64), [str(i) for i in range(max(every) + 1)]


def _names(schema: pa.Schema) -> dict[str, list[str]]:
    """Label names of each class column, from the metadata that the `datasets` library writes into the schema."""
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = metadata.get("info", {}).get("features", {})
    return {column: f["names"] for column, f in features.items() if isinstance(f, dict) and f.get("names")}
