"""Progress bars with the time left: on a terminal and in a notebook, and nowhere else."""

import sys

from tqdm.auto import tqdm


def bar(total: int, description: str, done: int = 0) -> tqdm:
    """A bar for `total` steps, of which `done` were done before; logs and files get none."""
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=total, initial=done, desc=description, unit="step", mininterval=1, disable=not watched)
