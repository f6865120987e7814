"""Reading and writing small result files: atomically, and as data only (safetensors, JSON, CSV; never pickles)."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file as a whole: after a crash there is the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def write_json(path: Path, content: object) -> None:
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def write_table(path: Path, table: pd.DataFrame) -> None:
    write_bytes(path, table.to_csv(index=False, float_format="%.7g").encode())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Named tensors and text, as safetensors."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(ready, dict(metadata or {})))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `write_tensors` wrote; ValueError if the file is damaged."""
    try:
        with safe_open(path, "pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path} is damaged or no safetensors file ({error}); delete it to have it made anew"
        ) from error


def read_tensor(path: Path, name: str) -> Tensor:
    """One tensor of a file, without reading the others."""
    with safe_open(path, "pt") as file:
        return file.get_tensor(name)


def digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
