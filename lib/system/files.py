"""Reading and writing small result files: atomically, and as data only (safetensors, JSON, CSV; never pickles).

Text is UTF-8, whatever the machine's language.
"""

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from lib.system import parallel

LARGEST_FILE = 16 * 10**6  # bytes, of a published result


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file as a whole: after a crash there is the old content or the new one, never a part.

    Of several processes that work together, only the first writes; of others, one at a time in a folder, so that any
    part of this file that lies there is what a killed process left, and is removed.
    """
    if parallel.rank():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        for left in path.parent.glob(".*.*"):
            if left.stem == f".{path.name}" and left.suffix[1:].isdigit():
                left.unlink()
        partial = path.with_name(f".{path.name}.{secrets.randbelow(10**12)}")
        try:
            with open(partial, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Keep other processes that ask for it out of a folder or file that exists, until the end of a `with` block.

    The system gives the lock back when a process dies. `waiting` is called every half second while another has it.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        while waiting:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(0.5)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def check_writable(folder: Path, size: int):
    """OSError, in one line, if a file of `size` bytes cannot be written into a folder, which is made if need be."""
    try:
        write_bytes(folder / ".space", bytes(size))
        (folder / ".space").unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot write {size / 1e6:.1f} MB into {folder} ({error.strerror}): make room or rights there, or name"
            " another folder for results in MODUS_RUNS"
        ) from error


def write_json(path: Path, content: object) -> None:
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def write_table(path: Path, table: pd.DataFrame) -> None:
    write_bytes(path, table.to_csv(index=False, float_format="%.7g").encode())


def encoded(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Named tensors and text, as safetensors; tensors that share memory, as tied weights do, are written each."""
    ready: dict[str, Tensor] = {}
    taken = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        ready[name] = tensor.clone() if memory in taken else tensor
        taken.add(memory)
    return save(ready, dict(metadata or {}))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    write_bytes(path, encoded(tensors, metadata))


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
    """One tensor of what `write_parts` wrote, without reading the others."""
    for part in _parts(path) or [path]:
        with safe_open(part, "pt") as file:
            if name in file.keys():  # noqa: SIM118  a file is no dictionary
                return file.get_tensor(name)
    raise ValueError(f"{path} has no tensor {name!r}: delete it to have it made anew")


def write_parts(path: Path, tensors: Mapping[str, Tensor], limit: int = LARGEST_FILE) -> list[str]:
    """`write_tensors` into one file or, where it would be larger than `limit` bytes, several; returns their names.

    Several are named "<stem>.1.safetensors" and so on; `read_parts` puts them together. What an earlier call wrote and
    this one did not is removed. ValueError for a tensor that is larger alone.
    """
    parts = in_parts(tensors, limit)
    several = [path.with_name(f"{path.stem}.{i}{path.suffix}") for i in range(1, len(parts) + 1)]
    paths = [path] if len(parts) == 1 else several
    for target, part in zip(paths, parts, strict=True):
        write_tensors(target, part)
    if not parallel.rank():
        for old in {path, *_parts(path)} - set(paths):
            old.unlink(missing_ok=True)
    return [target.name for target in paths]


def in_parts(tensors: Mapping[str, Tensor], limit: int = LARGEST_FILE) -> list[dict[str, Tensor]]:
    """How `write_parts` divides tensors among files; ValueError for one that is larger alone."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        needs = tensor.numel() * tensor.element_size() + 200  # with its entry in the header
        if needs > limit:
            raise ValueError(f"the tensor {name} has {needs} bytes, more than a file may have ({limit})")
        if size + needs > limit:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += needs
    return parts


def read_parts(path: Path) -> dict[str, Tensor]:
    """What `write_parts` wrote; FileNotFoundError if there is nothing."""
    found: dict[str, Tensor] = {}
    for part in _parts(path) or [path]:
        found |= read_tensors(part)[0]
    return found


def exists(path: Path) -> bool:
    """Whether there is anything that `write_parts` wrote."""
    return path.exists() or bool(_parts(path))


def _parts(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.stem}.*{path.suffix}"))


class Journal:
    """Results of a long computation by key, each on disk as soon as it is there, so that nothing is computed twice.

    A file of JSON lines. Its first line names what the results depend on: a file made from something else is begun
    anew, and a line that was cut off by a crash is dropped.
    """

    def __init__(self, path: Path, inputs: str):
        self.path, self.inputs, self.found = path, inputs, {}
        self.seconds, self._since = 0.0, time.monotonic()  # spent on all results, also by processes that were stopped
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        whole = [line for line in lines if _is_json(line)]
        if not whole or json.loads(whole[0]) != inputs:
            whole = [json.dumps(inputs)]
        write_bytes(path, ("\n".join(whole) + "\n").encode())
        for line in whole[1:]:
            key, value, seconds = json.loads(line)
            self.found[self._name(key)] = value
            self.seconds += seconds

    def __contains__(self, key: dict) -> bool:
        return self._name(key) in self.found

    def __getitem__(self, key: dict):
        return self.found[self._name(key)]

    def add(self, key: dict, value: object):
        now = time.monotonic()
        spent, self._since = now - self._since, now
        self.seconds += spent
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps([key, value, round(spent, 3)]) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.found[self._name(key)] = value

    def once(self, key: dict, compute: Callable[[], object]):
        """The result of a key, computed and added where it is missing."""
        if key not in self:
            self.add(key, compute())
        return self[key]

    @staticmethod
    def _name(key: dict) -> str:
        return json.dumps(key, sort_keys=True)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
