"""Sentences: padding never counts, bad files are named, and a run on them goes through all stages."""

import dataclasses
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import bert, data, explorers, measure, runs
from lib.data.text import noise
from lib.encoders import attention_weights
from lib.experiments.heads import damage
from lib.experiments.masked import scores
from lib.explorers import parts
from lib.probes import Probe
from lib.recipes import ProbeRecipe, TrainingRecipe
from lib.runs import reproduce, stages
from lib.runs.results import packed
from lib.system.errors import MissingData, MissingLanguage, UnpublishedFields, UnpublishedWeights
from lib.training import evaluate, loop
from lib.training.probes import train_probes

WORDS = ["pay", "bill", "play", "song", "my", "the", "a", "please"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SIZE = dict(
    classes=4, encoder="tiny-bert", width=8, depth=2, heads=2, ff_width=12, vocabulary=len(SPECIAL + WORDS),
    positions=64, longest=12, example=4,
)  # fmt: skip


def padded(things: data.TextSet, longest: int) -> data.TextSet:
    """The same sentences with as much padding as a batch of one that is `longest` would have, and junk in it."""
    ids = np.full((len(things), longest), 3, np.int32)
    ids[:, : things.ids.shape[1]] = things.ids

    class Padded(data.TextSet):
        def inputs(self, part, device):
            return torch.as_tensor(self.ids[part]).long()

        def mask(self, part, device):
            return torch.as_tensor(np.arange(longest) < self.lengths[part, None])

    return Padded(**(vars(things) | {"ids": ids}))


@pytest.fixture
def network():
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    network = bert.Bert(bert.Config(**SIZE)).eval()
    for module in (network.pool, network.classifier):  # the gate is zero at first
        torch.nn.init.normal_(module.weight)
    return network


@pytest.fixture
def sentences():
    return noise("tiny", "test", 40, 4, SIZE["vocabulary"])


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tokens=st.integers(1, 9), padding=st.integers(1, 9))
def test_padding_has_no_weight_in_a_probe_or_in_attention(seed, tokens, padding):
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(3, tokens + padding, 8, generator=generator)
    mask = torch.arange(tokens + padding).expand(3, -1) < tokens
    probe = Probe(8, 5).requires_grad_(False)
    probe.gate.copy_(torch.randn(8, generator=generator))
    for pool in (probe.pool, probe.pool_alone, probe):
        torch.testing.assert_close(pool(h, mask), pool(h[:, :tokens]), atol=1e-6, rtol=1e-6)
    q, k = (v.unflatten(2, (2, 4)).transpose(1, 2) for v in (h, h.flip(2)))
    found = attention_weights(q, k, mask)
    alone = attention_weights(q[:, :, :tokens], k[:, :, :tokens])
    torch.testing.assert_close(found[:, :, :tokens, :tokens], alone, atol=1e-6, rtol=1e-6)
    assert not found[..., tokens:].any() and not found[:, :, tokens:].any()


def test_padding_changes_nothing_that_is_measured(network, sentences):
    more = padded(sentences, 64)
    probes, _ = train_probes(network, network.sites, sentences, ProbeRecipe(epochs=1, batch=20))
    again, _ = train_probes(network, network.sites, more, ProbeRecipe(epochs=1, batch=20))
    for silencing in measure.SILENCING:
        one, other = (measure.measure(network, probes, each, silencing, batch=7) for each in (sentences, more))
        for site in network.sites:
            np.testing.assert_allclose(one.class_means[site], other.class_means[site], atol=1e-6)
    torch.testing.assert_close(probes["2.ff"].weight, again["2.ff"].weight, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(evaluate.predict(network, sentences), evaluate.predict(network, more), atol=1e-6)
    np.testing.assert_allclose(damage(network, sentences), damage(network, more), atol=1e-6)
    network.requires_grad_(True)  # training probes froze it
    for name, found in scores(network, network.layers, sentences).items():
        np.testing.assert_allclose(found.activation, scores(network, network.layers, more)[name].activation, atol=1e-6)
    short, long = sentences.batch(slice(0, 9)), more.batch(slice(0, 9))
    for one, other in zip(network.attention_maps(*short.given), network.attention_maps(*long.given), strict=True):
        T = one.shape[-1]
        torch.testing.assert_close(one, other[..., :T, :T], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(one.sum((2, 3)), short.mask.sum(1)[:, None].expand(-1, 2).float())


def test_attention_maps_are_those_that_the_network_applies(network, sentences):
    batch = sentences.batch(slice(0, 9))
    network.encoders[0].attention.self.config._attn_implementation = "eager"
    x = network.embeddings(batch.inputs)
    _, weights = network.encoders[0].attention.self(x, torch.where(batch.mask, 0.0, -1e9)[:, None, None])
    found = network.attention_maps(*batch.given)[0]
    torch.testing.assert_close(found, weights * batch.mask[:, None, :, None], atol=1e-6, rtol=1e-5)


def test_an_epoch_takes_each_sentence_once_and_like_lengths_together(sentences):
    things = noise("tiny", "train", 1003, 4, 9)
    order = things.shuffled(np.random.default_rng(0), 10)
    assert sorted(order) == list(range(1003))
    within = things.lengths[order[:1000]].reshape(-1, 10)
    assert np.ptp(within, axis=1).mean() < 1 < np.ptp(within[:, 0])
    assert not np.array_equal(order, things.shuffled(np.random.default_rng(1), 10))


def test_only_the_readout_learns_where_the_recipe_says_so(network, sentences):
    recipe = TrainingRecipe(1, 20, lr=1e-2, warmup_epochs=0, parts="readout")
    trained, _ = loop.train(lambda: bert.Bert(network.config), recipe, sentences)
    before = loop.initialised(lambda: bert.Bert(network.config), 0).state_dict()
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith(("pool.", "classifier"))


# ---- files


def write(folder, texts, labels=None, split="train", **columns):
    labels = list(np.arange(len(texts)) % 4) if labels is None else labels
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": texts, "intent": labels} | columns), folder / f"{split}-0.parquet")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MODUS_DATA", str(tmp_path))
    return tmp_path


def test_sentences_of_a_folder(home):
    write(home / "mine", ["pay my bill", "play a song"], ["pay", "play"], domain=["money", "music"])
    found = data.load("mine", "train")
    assert found.texts.tolist() == ["pay my bill", "play a song"] and found.label_names == ["pay", "play"]
    assert found.superclasses == ["money", "music"]


def test_the_digest_of_sentences_is_that_of_their_words(home):
    write(home / "mine", ["pay my bill", "play a song"])
    write(home / "mine", ["pay my bill", "play a tune"], split="test")
    train, again, other = (data.load("mine", split).digest() for split in ("train", "train", "test"))
    texts = np.array(["pay my bill", "".join(["play ", "a song"])], object)  # the same words at other addresses
    moved = dataclasses.replace(data.load("mine", "train"), texts=texts)
    assert train == again == moved.digest() != other


@pytest.mark.parametrize(
    ("texts", "labels", "problem"),
    [
        (["pay", None], [0, 1], "mine train, row 1: expected a sentence, got None"),
        (["pay", "  "], [0, 1], "mine train, row 1: expected a sentence, got '  '"),
        (["pay", "play"], [0, 7], "labels without names must be numbered from 0"),
        ([1, 2], [0, 1], "column text: expected text, got int64"),
    ],
)
def test_what_is_wrong_with_sentences_is_named(home, texts, labels, problem):
    write(home / "mine", texts, labels)
    with pytest.raises(ValueError, match=problem):
        data.load("mine", "train")


def test_a_file_without_texts_is_named(home):
    (home / "mine").mkdir()
    pq.write_table(pa.table({"sentence": ["pay"], "label": [0]}), home / "mine" / "train-0.parquet")
    with pytest.raises(ValueError, match="or a column text, and a label column .* it has sentence, label"):
        data.load("mine", "train")


def test_a_missing_set_says_how_to_get_it(home):
    with pytest.raises(MissingData, match=r"(?s)\(1\) set MODUS_DATA.*\(3\) fetch it with huggingface_hub"):
        data.load("clinc150", "train")


def test_images_are_no_sentences(home):
    write(home / "mine", ["pay"])
    with pytest.raises(ValueError, match="the network takes images, mine holds sentences"):
        runs.Run("glyphs", compute=False).definition.network.prepared(data.load("mine", "train"))
    with pytest.raises(ValueError, match="the network takes sentences, glyphs holds images"):
        bert.Config().prepared(data.ImageSet("glyphs", "test", np.zeros((1, 2, 2, 3), np.uint8), np.array([0]), ["a"]))


# ---- encoders


@pytest.fixture
def encoder(home):
    """A folder with a tiny encoder and its tokenizer."""
    transformers = bert._transformers() if pytest.importorskip("transformers") else None
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(7)
    about = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
        max_position_embeddings=64,
    )  # fmt: skip
    transformers.BertModel(about).save_pretrained(home / "tiny-bert")
    tokenizer.save(str(home / "tiny-bert" / "tokenizer.json"))
    return bert.Config(**SIZE)


def test_long_sentences_are_cut_and_counted(home, encoder, capsys):
    write(home / "mine", ["pay " * 40, "play my song"])
    found = encoder.prepared(data.load("mine", "train"))
    assert found.lengths.tolist() == [5, 12] and found.ids[1, 11] == SPECIAL.index("[SEP]")
    assert found.texts[0] == "play my song" and found.labels.tolist() == [1, 0]
    assert "mine train: 1 of 2 sentences cut to 12 tokens" in capsys.readouterr().err


def test_the_network_computes_what_the_encoder_computes(home, encoder):
    network = encoder.initial().eval()
    whole = bert._pretrained(encoder).eval()
    batch = noise("tiny", "test", 9, 4, SIZE["vocabulary"]).batch(slice(None))
    h = network.activations(batch.inputs, ["2.out"], batch.mask)["2.out"]
    expected = whole(input_ids=batch.inputs, attention_mask=batch.mask.long()).last_hidden_state
    torch.testing.assert_close(h[batch.mask], expected[batch.mask], atol=1e-5, rtol=1e-5)


def test_what_is_wrong_with_an_encoder_is_named(home, encoder, monkeypatch):
    write(home / "mine", ["pay"])
    with pytest.raises(ValueError, match="has SHA-256 .*, expected 0123: it has other weights"):
        dataclasses.replace(encoder, digest="0123").initial()
    with pytest.raises(ValueError, match=r"num_hidden_layers is 2, the run's \[network\] expects 3"):
        dataclasses.replace(encoder, depth=3).initial()
    with pytest.raises(ValueError, match="has 12 tokens, the network 30522: it is the tokenizer of another network"):
        dataclasses.replace(encoder, vocabulary=30522).prepared(data.load("mine", "train"))
    with pytest.raises(MissingLanguage, match="no-such-encoder is not installed: `make language`"):
        dataclasses.replace(encoder, encoder="no-such-encoder").initial()
    with pytest.raises(ValueError, match="the mask must be bool"):
        encoder.build()(torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingLanguage, match="transformers is not installed"):
        encoder.build()


# ---- runs

CONFIG = """
data = "mine"
[network]
kind = "bert"
classes = 4
encoder = "tiny-bert"
width = 8
depth = 2
heads = 2
ff_width = 12
vocabulary = 12
positions = 64
longest = 12
example = 4
[training]
epochs = 1
warmup_epochs = 0.5
batch = 20
[probes]
epochs = 1
batch = 20
[heads]
permutations = 20
rotations = 5
regroupings = 5
[andc]
thresholds = [0.1]
few_thresholds = [0.1]
retrained_thresholds = [0.1]
draws = 1
latency_batches = [1]
latency_rounds = 1
"""


@pytest.fixture
def folder(home, encoder, monkeypatch):
    random = np.random.default_rng(0)
    for split, n in (("train", 60), ("test", 40)):
        texts = [" ".join([WORDS[i % 4], *random.choice(WORDS[4:], 1 + i % 5)]) for i in range(n)]
        write(home / "mine", texts, split=split, domain=[i % 2 for i in range(n)])
    monkeypatch.setattr(runs.run, "PUBLISHED", home / "runs")
    monkeypatch.delenv("MODUS_RUNS", raising=False)
    (home / "runs" / "tiny").mkdir(parents=True)
    (home / "runs" / "tiny" / "config.toml").write_text(CONFIG)
    return home / "runs" / "tiny"


def test_a_run_on_sentences_is_read_without_its_weights_and_without_transformers(folder, monkeypatch, tmp_path):
    made = runs.make("tiny")
    made.require("heads"), made.require("andc")
    assert set(made.results["provenance"]["train"]["versions"]) > {"transformers", "tokenizers"}
    assert made.superclasses == ["0", "1", "0", "1"]
    sizes = made.table("andc_cost")
    assert (sizes["difference"] < 1e-5).all() and "compacted" in set(sizes["network"])
    whole = made.statistics()
    unpublished = {name for entry in made.record["stages"].values() for name in entry.get("unpublished", ())}
    assert unpublished == {"network.safetensors", "probes_rest.safetensors", "fields_rest.safetensors"}
    for name in unpublished:
        (folder / name).unlink()
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    loaded = runs.load("tiny")
    assert loaded.fields("2.mha").shape == (8, 4, 4) and len(loaded.published_sites()) == 6
    assert made.readable_sites == loaded.readable_sites == loaded.published_sites() != made.sites
    again = loaded.statistics()
    assert again.equals(whole[whole["site"].isin(again["site"])].reset_index(drop=True))
    assert loaded.class_means("1.ff", "test", "input").shape == loaded.weight("1.ff").shape
    assert loaded.label_accuracy("2.out", "train").shape == (4,)
    for read in (lambda: loaded.class_means("2.out"), lambda: loaded.class_means("2.ff", "train"),
                 lambda: loaded.weight("1.ff_in"), loaded.probes):  # fmt: skip
        with pytest.raises(UnpublishedFields, match=r"of run tiny is not published: .*`make reproduce RUN=tiny`"):
            read()
    assert len(loaded.table("heads_encoders")) == 2
    offered = parts.write(tmp_path / "parts", [loaded])
    assert offered == {"tiny": ["nodes", "heads"]}  # label sets of training sentences, for pruning, are not at hand
    assert (tmp_path / "parts" / "tiny" / "2.mha.js").exists() and not (
        tmp_path / "parts" / "tiny" / "2.out.js"
    ).exists()
    with pytest.raises(UnpublishedWeights, match="`make reproduce RUN=tiny` trains the network anew"):
        loaded.network()


@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-20, 1e-3, 1.0, 1e6]), labels=st.integers(1, 5))
def test_class_means_as_integers_are_within_a_rounding_of_each_nodes_largest(seed, scale, labels):
    values = scale * torch.randn(labels, 7, generator=torch.Generator().manual_seed(seed))
    values[:, 0] = 0
    found = packed("1.ff", values)
    assert found["1.ff"].dtype == torch.int16 and found["1.ff/unit"].shape == (7,)
    error = (found["1.ff"] * found["1.ff/unit"] - values).abs()
    assert (error <= values.abs().amax(0) / 65000).all() and not found["1.ff"][:, 0].any()


def test_the_text_explorer_shows_what_each_node_adds_and_where_a_head_looks(folder, monkeypatch):
    run = runs.make("tiny")
    run.require("probes")
    explorer = explorers.text_explorer(run)
    explorer.text.value, explorer.site.value, explorer.head.value = "pay my bill", "1.mha", 2
    assert explorer.words == ["[CLS]", "pay", "my", "bill", "[SEP]"]
    things = run.definition.network.prepared(
        data.Sentences("x", "", np.array(["pay my bill"], object), np.array([0]), ["a"])
    )
    batch, network = things.batch(slice(None)), run.network()
    h = network.activations(batch.inputs, ["1.mha"], batch.mask)["1.mha"]
    fields = run.probe("1.mha")(h, batch.mask).detach().numpy()[0]
    np.testing.assert_allclose(explorer.parts.sum(0), fields, atol=1e-6)
    assert explorer.answer[0] == run.label_names[fields.argmax()] and len(explorer.picture.outputs) == 1
    np.testing.assert_allclose(explorer.attention, network.attention_maps(*batch.given)[0][0, 1].numpy(), atol=1e-6)
    explorer.text.value = "play <b>unknown</b>"
    assert "[UNK]" in explorer.words and "<b>" not in explorer.told.value
    explorer.label.value = 2
    assert run.label_names[2] in str(explorer.picture.outputs)
    explorer.text.value = " "
    assert explorer.told.value == "Type a sentence." and not explorer.picture.outputs
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "transformers is not installed: `make language`" in explorers.text_explorer(run).value
    for path in folder.glob("network*.safetensors"):
        path.unlink()
    assert "the weights of run tiny are not published" in explorers.text_explorer(run).value
    assert "make reproduce RUN=clinc150" in explorers.text_explorer().value


def test_runs_on_a_set_are_those_of_the_folder_of_results_or_else_the_published(folder, monkeypatch, tmp_path):
    runs.make("tiny").require("fields")
    assert [run.folder for run in runs.measured_on("mine")] == [folder]
    assert runs.measured_on("mine", "heads") == runs.measured_on("glyphs") == []
    monkeypatch.setenv("MODUS_RUNS", str(tmp_path / "other"))
    assert [run.folder for run in runs.measured_on("mine")] == [folder]
    runs.make("tiny").require("fields")
    assert [run.folder for run in runs.measured_on("mine")] == [tmp_path / "other" / "tiny"]


def test_chapters_are_executed_on_runs_of_their_kind_alone():
    of_images = {chapter.stem for chapter in reproduce.chapters_of("glyphs-tiny")}
    assert "01-network" in of_images and "10-your-network" not in of_images  # the same for every run
    assert [chapter.stem for chapter in reproduce.chapters_of("clinc150")] == ["09-language"]
    assert not set(reproduce.chapters_of("glyphs-tiny")) & set(reproduce.chapters_of("clinc150"))


@pytest.mark.parametrize("name", ["clinc150", "clinc150-untrained", "clinc150-tuned", "banking77-tuned"])
def test_weights_that_are_not_published_may_be_large(name):
    definition = runs.defined(name)
    stages.check(definition, *(definition.network.noise("noise", split, 12_000, 0) for split in ("train", "test")))


def test_of_a_frozen_network_the_readout_alone_is_stored(folder):
    (folder / "config.toml").write_text(CONFIG.replace("[training]", '[training]\nparts = "readout"'))
    run = runs.make("tiny")
    run.require("train")
    assert not run.record["stages"]["train"].get("unpublished")
    assert (folder / "network.safetensors").stat().st_size < 2000
    logits = evaluate.predict(run.network(), run.images("test"))
    assert evaluate.accuracy(logits, run.images("test").labels) == run.results["test_accuracy"]
