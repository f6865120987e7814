"""The stages of a run: what each computes, what it builds on, and what of the configuration its result depends on.

A stage is a function of a `Job`, which gives it the definition and the results it builds on. It writes its files
through these results, and never asks for another stage.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch

from lib import andc, cct, cnn, data, measure
from lib.data import LabelledSet
from lib.encoders import READOUT
from lib.experiments import cost, filters, heads, masked, pruning, retraining, sharpening, smaller, trials
from lib.experiments.masks import Masks
from lib.experiments.pruning import PruningExperiment
from lib.recipes import TrainingRecipe
from lib.runs.definition import Definition
from lib.runs.results import Results
from lib.study import Found
from lib.system import files
from lib.system.files import Journal
from lib.training import evaluate, loop, probes
from lib.training.resume import Deadline, Sums


class Job(NamedTuple):
    """What a stage is given."""

    definition: Definition
    results: Results  # of the stages it builds on
    images: Callable[[str], LabelledSet]  # by split
    inputs: str  # hash over all that the result depends on, images too: a checkpoint made from others is refused
    device: str
    deadline: Deadline
    compiled: bool = False


class Made(NamedTuple):
    """What a stage gives back: names of its files, its headline results, and facts to be recorded of the run."""

    files: list[str]
    results: dict
    facts: dict | None = None
    unpublished: tuple[str, ...] = ()  # those of the files without which the rest counts


def train_network(job: Job) -> Made:
    """The network, trained; its accuracy on the test images."""
    d, results, images, test = job.definition, job.results, job.images("train"), job.images("test")
    check(d, images, test)
    checkpoint = results.unfinished("training.safetensors")
    network, curve = loop.train(
        results.initial, d.training, images, d.seed, checkpoint,
        device=job.device, deadline=job.deadline, compiled=job.compiled, identity=job.inputs,
    )  # fmt: skip
    weights = results.write_network(network)
    written = [*weights, *results.write_tables(training=curve)]
    logits = evaluate.predict(network, test)
    found = {
        "test_accuracy": evaluate.accuracy(logits, test.labels),
        "test_top5_accuracy": evaluate.accuracy(logits, test.labels, 5),
        "parameters": sum(p.numel() for p in network.parameters()),
        "train_images": len(images),
        "test_images": len(test),
    }
    seconds = curve[-1]["seconds"]
    if images.thing == "image":  # sentences cost what their length says
        seen = round(d.training.epochs * images.steps(d.training.batch)) * d.training.batch
        found |= cost.training_speed(network, d.training, seen, seconds, job.device)
    facts = {"labels": images.label_names, "superclasses": images.superclasses, "seconds": seconds}
    return Made(written, found, facts, () if d.publishes_weights else tuple(weights))


def check(definition: Definition, train: LabelledSet, test: LabelledSet):
    """ValueError for what would stop one of the stages that every run has: all that can be known before training."""
    d, K = definition, definition.network.classes
    if len(train.label_names) != K:
        raise ValueError(f"the network has {K} outputs, {train.name} has {len(train.label_names)} labels")
    if train.label_names != test.label_names:
        raise ValueError(
            f"{train.name} must have the same labels in both splits, got other names in test than in train"
        )
    if d.network.heads < 2:
        raise ValueError("heads = 1: what heads share out among them needs at least two; set heads in [network]")
    retrained = train.balanced(d.andc.retraining_images, d.seed)
    for section, images, batch in (
        ("training", train, d.training.batch), ("probes", train, d.probes.batch), ("andc", retrained, d.training.batch)
    ):  # fmt: skip
        try:
            images.steps(batch)
        except ValueError as error:
            raise ValueError(f"[{section}] {error}") from error
    for images in (train, test):
        images.require_every_class()
    if d.network.published:
        with torch.device("meta"):
            files.in_parts(d.network.build().state_dict())


def train_probes(job: Job) -> Made:
    """A probe at every site."""
    d, results = job.definition, job.results
    checkpoint = results.unfinished("probes.safetensors")
    trained, curve = probes.train_probes(
        results.network(), results.sites, job.images("train"), d.probes, d.seed, checkpoint, job.deadline, job.inputs
    )
    written = [*results.write_probes(trained), *results.write_tables(probe_training=curve)]
    return Made(written, {"probe_sites": len(trained)}, unpublished=results.rest(written))


def measure_fields(job: Job) -> Made:
    """Class means of all nodes and accuracies of all probes."""
    results = job.results
    network, trained, measured = results.network(), results.probes(), {}
    rows = {s: {"site": s, "nodes": network.width(s)} for s in results.sites}
    for split, silencings in (("train", ("readout",)), ("test", measure.SILENCING)):
        kept = Sums(results.unfinished(f"fields-{split}.safetensors"), job.inputs, job.deadline)
        found = measure.measure_each(network, trained, job.images(split), silencings, kept=kept)
        measured |= {(split, silencing): each for silencing, each in found.items()}
        for site, row in rows.items():
            row[f"{split}_accuracy"] = found["readout"].accuracy(site)
    written = [*results.write_fields(measured), *results.write_tables(probes=list(rows.values()))]
    found = {"best_probe_test_accuracy": max(r["test_accuracy"] for r in rows.values())}
    return Made(written, found, unpublished=results.rest(written))


def study_heads(job: Job) -> Made:
    """What the heads are experts for, and the controls."""
    d, results = job.definition, job.results
    means = {s: results.class_means(s) for s in results.sites}
    journal = Journal(results.unfinished("heads.jsonl"), job.inputs)
    passes = {name: results.unfinished(f"heads-{name}.safetensors") for name in heads.PASSES}
    experiment = heads.HeadExperiment(
        results.build, results.network(), results.probes(), means, job.images("train"), job.images("test"),
        d.probes, d.heads, d.seed, heads.Unfinished(journal, passes, job.inputs, job.deadline),
    )  # fmt: skip
    labels = experiment.labels()
    written = results.write_tables(
        heads=labels, heads_encoders=experiment.encoders(labels), heads_cooperation=experiment.cooperation()
    )
    return Made(written, {"removed_heads": len(experiment.sites) * experiment.heads})


def prune(job: Job) -> Made:
    """The network masked by ANDC and its baselines: accuracy, cost, latency."""
    d, results = job.definition, job.results
    journal = Journal(results.unfinished("andc.jsonl"), job.inputs)
    kept = Sums(results.unfinished("andc-readout.safetensors"), job.inputs, job.deadline)
    readout = masked.readout_nodes(results.network(), job.images("train"), kept)
    experiment = _pruning(job, "andc", readout)
    cells = list(pruning.cells(d.andc, len(experiment.network.encoders)))
    rows, labels = experiment.rows(cells, journal, job.deadline)
    masks = {
        threshold: experiment.masks(pruning.row("none", "ff", threshold, "andc"))
        for threshold in d.andc.retrained_thresholds
    }
    test = experiment.sweep_images.balanced(len(experiment.sweep_images.label_names))
    sizes, times = smaller.compared(experiment.network, masks, test, d.andc)
    written = results.write_tables(andc=rows, andc_labels=labels, andc_cost=sizes, andc_latency=times)
    written += results.write_readout(readout)
    return Made(written, {"andc_networks": len(rows)}, {"seconds": journal.seconds})


def train_pruned(job: Job) -> Made:
    """New networks trained with masks of the run's network, or of its baselines, from their first step."""
    experiment = _pruning(job, "scratch", job.results.readout())
    journal = Journal(job.results.unfinished("scratch.jsonl"), job.inputs)
    rows, _ = experiment.rows(pruning.scratch_cells(job.definition.scratch), journal, job.deadline)
    columns = [*pruning.KEY, "kept", "top1", "top5", "images", "empty"]
    written = job.results.write_tables(columns, scratch=rows)
    return Made(written, {"scratch_networks": len(rows)}, {"seconds": journal.seconds})


def prune_by_controls(job: Job) -> Made:
    """Further masked networks: they tell which connections the rule keeps from how many it leaves a node."""
    return _masked(job, "controls", "control_networks", pruning.control_cells(job.definition.andc))


def compensate(job: Job) -> Made:
    """Masked networks whose biases make up for the mean of what was removed: is it the mean that masks lose?"""
    return _masked(job, "compensated", "compensated_networks", pruning.compensated_cells(job.definition.andc))


def _masked(job: Job, table: str, counted: str, cells: Iterable[dict]) -> Made:
    journal = Journal(job.results.unfinished(f"{table}.jsonl"), job.inputs)
    rows, _ = _pruning(job, table).rows(list(cells), journal, job.deadline)
    return Made(job.results.write_tables(**{table: rows}), {counted: len(rows)}, {"seconds": journal.seconds})


def _pruning(job: Job, table: str, readout: andc.Nodes | None = None) -> PruningExperiment:
    d, results = job.definition, job.results
    checkpoint = results.unfinished(f"{table}-network.safetensors")
    nodes = _train_nodes(results) | ({READOUT: readout} if readout else {})
    return PruningExperiment(
        results.build, results.network(), nodes, job.images("train"), job.images("test"),
        d.training, d.andc, d.seed, checkpoint,
    )  # fmt: skip


def _train_nodes(results: Results) -> dict[str, andc.Nodes]:
    return {s: andc.Nodes(results.class_means(s, "train"), results.weight(s)) for s in results.sites}


def retrain(job: Job) -> Made:
    """The network masked by each rule, and unpruned, trained on for several lengths; what pruning saves then."""
    d, results = job.definition, job.results
    network, journal = results.network(), Journal(results.unfinished("retraining.jsonl"), job.inputs)
    further = retraining.Further(
        network, job.images("train"), d.training, d.schedule, d.seed, results.unfinished, journal, job.deadline,
        job.compiled,
    )  # fmt: skip
    masks = Masks(network, _train_nodes(results), d.seed)
    rows, labels = retraining.rows(further, masks, d.retraining, job.images("test"))
    costs = smaller.beside(
        network, {line: masks.of(*line) for line in retraining.lines(d.retraining)[1:]},
        d.retraining.latency_batches, d.retraining.latency_rounds,
    )  # fmt: skip
    written = results.write_tables(retraining=rows, retraining_labels=labels, retraining_cost=costs)
    return Made(written, {"retrained_networks": len(rows)}, {"seconds": journal.seconds})


def try_rates(job: Job) -> Made:
    """The unpruned network trained on at several rates, judged on images that it has never learnt from."""
    d, results, (learnt, held) = job.definition, job.results, _held_out(job)
    network, seconds = results.network(), 0.0
    if len(learnt) < len(job.images("train")):  # the run's own network knows these images: one is trained without them
        network, curve = loop.train(
            results.initial, d.training, learnt, d.seed, results.unfinished("rates.safetensors"),
            device=job.device, deadline=job.deadline, compiled=job.compiled, identity=job.inputs,
        )  # fmt: skip
        seconds = curve[-1]["seconds"]
    network.requires_grad_(True)  # also where its training left parts as they were
    journal = Journal(results.unfinished("rates.jsonl"), job.inputs)
    further = retraining.Further(
        network, learnt, d.training, d.schedule, d.seed, results.unfinished, journal, job.deadline, job.compiled
    )
    rows = retraining.tried(further, d.schedule, held)
    facts = {"seconds": seconds + journal.seconds}
    return Made(results.write_tables(rates=rows), {"rates": len(d.schedule.rates)}, facts)


def _held_out(job: Job) -> tuple[LabelledSet, LabelledSet]:
    """What a trial learns from, and what judges it: the set's validation split, or a part of the training images."""
    images = job.images("train")
    if "validation" in data.splits(job.definition.data):
        return images, job.images("validation")
    return trials.hold_out(images)


def try_augmentations(job: Job) -> Made:
    """The run's network trained with other augmentations, each judged on training images that were held out."""
    training = job.definition.training
    policies = trials.policies(training.augmentation)
    recipes = {name: dataclasses.replace(training, augmentation=policy) for name, policy in policies.items()}
    made = _try(job, "augmentation", "policy", recipes)
    return made._replace(results={"augmentations": len(recipes)})


def try_recipes(job: Job) -> Made:
    """The run's network trained by each recipe of `[trials]`, judged on training images that were held out."""
    recipes = job.definition.trials
    made = _try(job, "trials", "trial", recipes, {name: {"recipe": r.differences()} for name, r in recipes.items()})
    return made._replace(results={"trials": len(recipes)})


def measure_untrained(job: Job) -> Made:
    """The control of the first three claims: the network before its first step, its sites read and measured alike."""
    d, results = job.definition, job.results
    network = loop.initialised(results.build, d.seed).to(job.device).eval()
    checkpoint = results.unfinished("untrained-probes.safetensors")
    trained, _ = probes.train_probes(
        network, results.sites, job.images("train"), d.probes, d.seed, checkpoint, job.deadline, job.inputs
    )
    kept = Sums(results.unfinished("untrained-fields.safetensors"), job.inputs, job.deadline)
    measured = measure.measure_each(network, trained, job.images("test"), kept=kept)
    found = sharpening.table(Found(trained, measured), thresholds=sharpening.THRESHOLDS)
    accuracy = found["site"].map(measured["readout"].accuracy)
    return Made(results.write_tables(untrained=found.assign(test_accuracy=accuracy)), {})


def _try(
    job: Job, table: str, column: str, recipes: Mapping[str, TrainingRecipe], about: Mapping | None = None
) -> Made:
    d, (learnt, held) = job.definition, _held_out(job)
    found, seconds = [], 0.0
    checkpoints = {name: job.results.unfinished(f"{column}-{name}.safetensors") for name in recipes}
    for name, recipe in recipes.items():
        row = trials.trial(d.network, recipe, d.seed, learnt, held, checkpoints[name], job.device, job.deadline)
        found.append({column: name} | row | (about or {}).get(name, {}))
        seconds += row["seconds"]
    written = job.results.write_tables(**{table: found})
    return Made(written, {}, {"seconds": seconds})


def train_cnn(job: Job) -> Made:
    """A convolutional network trained on the run's images as its transformer was, and its filters measured."""
    d, results, images, test = job.definition, job.results, job.images("train"), job.images("test")
    if not isinstance(d.network, cct.Config):
        raise ValueError(f"stage cnn trains a network on images, {images.name} holds {images.thing}s")
    checkpoint = results.unfinished("cnn.safetensors")

    # what only a transformer has: stages of tokens, and matrices for Muon
    recipe = dataclasses.replace(d.training, optimiser="adamw", token_stages=(), parts="all")

    def build() -> cnn.CNN:
        return cnn.CNN(len(images.label_names), d.cnn.widths, d.cnn.pools)

    network, curve = loop.train(
        build, recipe, images, d.seed, checkpoint, device=job.device, deadline=job.deadline, identity=job.inputs
    )
    untrained = cnn.with_batch_statistics(loop.initialised(build, d.seed), images.balanced(1000)).to(job.device)
    journal = Journal(results.unfinished("cnn.jsonl"), job.inputs)

    def once(key: dict, compute: Callable[[], list[dict]]) -> list[dict]:
        job.deadline.check(f"the filters, after {len(journal.found)} read-outs")
        return journal.once(key, compute)

    networks = {"CNN": network, "untrained": untrained}
    table = filters.table(networks, images, test, d.probes, d.cnn, once, d.seed)
    written = [*results.write_tables(cnn=table), *results.write_network(network, "cnn")]
    found = {
        "cnn_test_accuracy": evaluate.accuracy(evaluate.predict(network, test), test.labels),
        "cnn_train_accuracy": curve[-1]["train_accuracy"],
        "cnn_parameters": sum(p.numel() for p in network.parameters()),
    }
    return Made(written, found)


class Stage(NamedTuple):
    version: int  # raised by hand when the code computes something else
    compute: Callable[[Job], Made]
    upstream: tuple[str, ...]  # the stages whose files it reads
    uses: tuple[str, ...]  # the parts of the definition that the result depends on
    optional: bool = False  # expensive, and nothing else builds on it
    shared: bool = False  # several processes can work at it together
    held_out: bool = False  # judged on images that were held out: the validation split, where the set has one

    def splits(self, data_set: str) -> tuple[str, ...]:
        """The splits that its result depends on."""
        judge = self.held_out and "validation" in data.splits(data_set)
        return ("train", "test") + ("validation",) * judge


STAGES = {
    "train": Stage(1, train_network, (), ("data", "seed", "network", "training"), shared=True),
    "probes": Stage(1, train_probes, ("train",), ("probes", "seed"), shared=True),
    "fields": Stage(1, measure_fields, ("train", "probes"), (), shared=True),
    "heads": Stage(2, study_heads, ("train", "probes", "fields"), ("heads", "probes", "seed")),
    "andc": Stage(1, prune, ("train", "probes", "fields"), ("andc", "training", "seed")),
    "scratch": Stage(1, train_pruned, ("train", "fields", "andc"), ("scratch", "training", "seed"), optional=True),
    "controls": Stage(1, prune_by_controls, ("train", "probes", "fields"), ("andc", "training", "seed"), optional=True),
    "compensated": Stage(1, compensate, ("train", "probes", "fields"), ("andc", "training", "seed"), optional=True),
    "rates": Stage(
        1, try_rates, ("train",), ("data", "seed", "network", "training", "schedule"), optional=True, held_out=True
    ),
    "retraining": Stage(
        1, retrain, ("train", "probes", "fields"), ("retraining", "schedule", "training", "seed"), optional=True
    ),
    "augmentation": Stage(
        1, try_augmentations, (), ("data", "seed", "network", "training"), optional=True, held_out=True
    ),
    "untrained": Stage(1, measure_untrained, (), ("data", "seed", "network", "probes"), optional=True),
    "trials": Stage(1, try_recipes, (), ("data", "seed", "network", "trials"), optional=True, held_out=True),
    "cnn": Stage(1, train_cnn, (), ("data", "seed", "training", "probes", "cnn"), optional=True),
}
REQUIRED = tuple(stage for stage, about in STAGES.items() if not about.optional)


def every(definition: Definition) -> tuple[str, ...]:
    """All stages that mean something for a run: CNNs and augmentations are of images, trials must be named."""
    of_images = isinstance(definition.network, cct.Config)
    without = {"cnn": not of_images, "augmentation": not of_images, "trials": not definition.trials}
    return tuple(stage for stage in STAGES if not without.get(stage))
