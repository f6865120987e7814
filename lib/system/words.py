"""Numbers and lists as a sentence has them."""

from collections.abc import Iterable


def listed(texts: Iterable[str]) -> str:
    """ "a, b and c"; empty for none."""
    *most, last = [*texts] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def count(number: float, thing: str) -> str:
    """ "1 seed", "3 seeds"; of a thing whose plural takes an s."""
    return f"{number:g} {thing}" if number == 1 else f"{number:g} {thing}s"
