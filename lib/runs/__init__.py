"""Runs: `load` one to read its results, `make` it to compute what is missing."""

from lib.runs.pipeline import REQUIRED, STAGES, TABLES
from lib.runs.run import PUBLISHED, ROOT, Run, known, load, make, published, readable

__all__ = ["PUBLISHED", "REQUIRED", "ROOT", "STAGES", "TABLES", "Run", "known", "load", "make", "published", "readable"]
