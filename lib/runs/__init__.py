"""Runs: `load` one to read its results, `make` it to compute what is missing."""

from lib.runs.results import TABLES
from lib.runs.run import (
    PUBLISHED,
    REPRODUCED,
    ROOT,
    Run,
    defined,
    families,
    known,
    load,
    make,
    measured_on,
    published,
    readable,
)
from lib.runs.stages import REQUIRED, STAGES, every

__all__ = [
    "PUBLISHED",
    "REPRODUCED",
    "REQUIRED",
    "ROOT",
    "STAGES",
    "TABLES",
    "Run",
    "defined",
    "every",
    "families",
    "known",
    "load",
    "make",
    "measured_on",
    "published",
    "readable",
]
