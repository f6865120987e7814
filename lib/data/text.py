"""Sets of sentences, as text and as the tokens of a network, and how they reach it."""

import sys
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lib.data.sets import LabelledSet, tensor

ALIKE = 32  # batches of an epoch, among which sentences are sorted by length


@dataclass(frozen=True)
class Sentences(LabelledSet):
    """Labelled sentences as text.

    texts: str (N,); labels: int64 (N,), each an index into `label_names`; `coarse_labels` and `coarse_names` likewise
    where the set has them, else None. ValueError, which names the first, for sentences that are missing or empty.
    """

    thing: ClassVar = "sentence"

    name: str
    split: str
    texts: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    label_names: list[str] = field(repr=False)
    coarse_labels: np.ndarray | None = field(default=None, repr=False)
    coarse_names: list[str] | None = field(default=None, repr=False)

    def __post_init__(self):
        super().__post_init__()
        if self.texts.shape != self.labels.shape:
            raise ValueError(f"expected a sentence a label, got {self.texts.shape} and {self.labels.shape}")
        for i, text in enumerate(self.texts):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{self.name} {self.split}, row {i}: expected a sentence, got {text!r}; remove it")

    def tokenised(self, tokenizer, longest: int) -> "TextSet":
        """The sentences as token ids of a `tokenizers.Tokenizer`, ordered by length, so that few batches need padding.

        What is longer than `longest` tokens is cut, with its last special token kept, and a line says how many were.
        """
        tokenizer.no_padding()
        tokenizer.enable_truncation(longest)
        found = tokenizer.encode_batch(self.texts.tolist())
        if cut := sum(bool(encoding.overflowing) for encoding in found):
            print(f"{self.name} {self.split}: {cut} of {len(self)} sentences cut to {longest} tokens", file=sys.stderr)
        lengths = np.array([len(encoding.ids) for encoding in found], np.int64)
        ids = np.zeros((len(self), lengths.max(initial=1)), np.int32)
        for row, encoding in zip(ids, found, strict=True):
            row[: len(encoding.ids)] = encoding.ids
        everything = TextSet(**vars(self), ids=ids, lengths=lengths)
        return everything.take(np.argsort(lengths, kind="stable"))


@dataclass(frozen=True)
class TextSet(Sentences):
    """Labelled sentences as a network takes them. ids: integers (N, T), whatever after the first `lengths` (N,)."""

    ids: np.ndarray = field(default=None, repr=False)
    lengths: np.ndarray = field(default=None, repr=False)

    def inputs(self, part: slice | np.ndarray, device: str | torch.device) -> Tensor:
        """Token ids, int64 (B, T), as long as the longest sentence."""
        longest = self.lengths[part].max(initial=1)
        return tensor(self.ids[part][:, :longest]).to(device, torch.int64)

    def mask(self, part: slice | np.ndarray, device: str | torch.device) -> Tensor:
        lengths = self.lengths[part]
        return tensor(np.arange(lengths.max(initial=1)) < lengths[:, None]).to(device)

    def shuffled(self, random: np.random.Generator, batch: int) -> np.ndarray:
        """At random, but for sentences of like length together in a batch; the last ones fill no batch."""
        order = random.permutation(len(self))
        whole = len(self) // batch * batch
        alike = np.split(order[:whole], range(ALIKE * batch, whole, ALIKE * batch))
        ordered = np.concatenate([part[np.argsort(self.lengths[part], kind="stable")] for part in alike])
        return np.concatenate([random.permutation(ordered.reshape(-1, batch)).ravel(), order[whole:]])


def noise(name: str, split: str, n: int, classes: int, vocabulary: int, seed: int = 0) -> TextSet:
    """n sentences of 3 to 12 tokens at random, with labels in turn."""
    random = np.random.default_rng(seed)
    texts = np.array(["noise"] * n, object)
    labels = [f"label {i}" for i in range(classes)]
    ids = random.integers(0, vocabulary, (n, 12), np.int32)
    return TextSet(name, split, texts, np.arange(n) % classes, labels, ids=ids, lengths=random.integers(3, 13, n))
