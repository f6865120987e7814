"""Errors a reader can meet: each says what was expected, what was got and what to do."""

import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches


def unknown(kind: str, got: object, known: Iterable[object]) -> ValueError:
    """The error for a name that is not among the known ones; suggests the nearest."""
    names = [str(k) for k in known]
    near = get_close_matches(str(got), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return ValueError(f"unknown {kind} {got!r}{hint}; known: {', '.join(names) or 'none'}")


def one_line(error: BaseException) -> str:
    """An error as a command reports it."""
    return " ".join(f"error: {error or type(error).__name__}".split())


class MissingData(FileNotFoundError):
    """No source has a data set; `third`: a way to get it where there is a network."""

    def __init__(self, name: str, split: str, third: str):
        super().__init__(
            f"no source for {name} {split}. Provide it in one of three ways: (1) set MODUS_DATA to a folder that holds"
            f" {name}/{split}-*.parquet (the Hugging Face layout); (2) put the same folder at data/{name} in the"
            f" checkout; (3) {third}, which needs a network. The results of the"
            " published runs can be read without any data, and the set 'glyphs' needs no source."
        )


class MissingLanguage(ModuleNotFoundError):
    """Something that only networks of language need is not installed."""

    def __init__(self, name: str):
        super().__init__(
            f"{name} is not installed: `make language` installs what networks of language need"
            " (requirements-language.txt); an encoder of your own is a folder beside the data. Published results can be"
            " read without it"
        )


class UnpublishedWeights(FileNotFoundError):
    """The weights of a network are not published, being too large."""

    def __init__(self, run: str):
        super().__init__(
            f"the weights of run {run} are not published, for their size: everything measured on them can be read, and"
            f" `make reproduce RUN={run}` trains the network anew"
        )


class UnpublishedFields(FileNotFoundError):
    """Class means or probe weights of a large network that are not published."""

    def __init__(self, run: str, name: str):
        super().__init__(
            f"{name} of run {run} is not published: of networks of this size only the sites where the book judges its"
            f" claims are, on test data. `make reproduce RUN={run}` makes the others too"
        )


class StaleRun(RuntimeError):
    """A stored result was made from other inputs or by other code than the present ones, or is damaged or missing."""


class OutOfTime(RuntimeError):
    """The time limit of a computation is over; what was done is stored, and the same call goes on from there."""


EXPECTED = (ValueError, OSError, FloatingPointError, MemoryError, StaleRun, OutOfTime)  # what commands report in a line


def exit_code(command: Callable[[], int]) -> int:
    """What a command returns; 1 after an error that a reader can meet, 130 after Ctrl-C, either said in a line."""
    try:
        return command()
    except EXPECTED as error:
        print(one_line(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
