"""What each stage of a run computes: a function of the run that writes files into its folder.

Each returns the names of the files it wrote, its headline results, and facts about the run to be recorded beside them.
"""

import contextlib
import dataclasses
from typing import NamedTuple

import pandas as pd
import torch

from lib import andc, cnn, data, measure, probes
from lib.cct import CCT, READOUT
from lib.experiments import cost, filters, masked, throughput, trials
from lib.experiments import heads as heads_study
from lib.experiments import pruning as andc_study
from lib.experiments import smaller as compact
from lib.recipes import Recipe
from lib.system import files, parallel
from lib.system.latency import latency
from lib.training import loop as train


class Made(NamedTuple):
    files: list[str]
    results: dict
    facts: dict | None = None


def train_network(run) -> Made:
    """The network, trained; its accuracy on the test images."""
    images, test = run.images("train"), run.images("test")
    if (K := run.definition.network.classes) != len(images.label_names):
        raise ValueError(f"the network has {K} outputs, {images.name} has {len(images.label_names)} labels")
    checkpoint = run.folder / ".training.safetensors"
    d = run.definition
    network, curve = train.train(
        run.build,
        d.training,
        images,
        d.seed,
        checkpoint,
        device=run.device,
        deadline=run.deadline,
        compiled=run.compiled,
        identity=run.inputs("train"),
    )
    written = files.write_parts(run.folder / "network.safetensors", network.state_dict())
    files.write_table(run.folder / "training.csv", pd.DataFrame(curve))
    checkpoint.unlink(missing_ok=True)
    logits = train.predict(network, test)
    results = {
        "test_accuracy": train.accuracy(logits, test.labels),
        "test_top5_accuracy": train.accuracy(logits, test.labels, 5),
        "parameters": sum(p.numel() for p in network.parameters()),
        "train_images": len(images),
        "test_images": len(test),
    } | _speed(network, d.training, images, curve, run.device)
    facts = {"labels": images.label_names, "seconds": curve[-1]["seconds"] if curve else 0.0}
    if images.coarse_names:
        facts["superclasses"] = [images.coarse_names[c] for c in _coarse(images)]
    return Made([*written, "training.csv"], results, facts)


def _speed(network: CCT, recipe: Recipe, images: data.ImageSet, curve: list[dict], device: str) -> dict:
    """Images a second of the training, operations a second, and their share of the device's largest product."""
    if not curve or parallel.rank():
        return {}
    seen = round(recipe.epochs * images.steps(recipe.batch)) * recipe.batch
    speed = seen / curve[-1]["seconds"]
    rate = speed * throughput.operations(network)
    peak = throughput.matrix_peak(device) * parallel.size()
    return {"images_per_second": speed, "operations_per_second": rate, "share_of_peak": rate / peak}


def train_probes(run) -> Made:
    """A probe at every site."""
    d = run.definition
    checkpoint = run.folder / ".probes.safetensors"
    trained, curve = probes.train_probes(
        run.network(), run.sites, run.images("train"), d.probes, d.seed, checkpoint, run.deadline, run.inputs("probes")
    )
    tensors = {f"{s}/{name}": t for s, probe in trained.items() for name, t in probe.state_dict().items()}
    files.write_tensors(run.folder / "probes.safetensors", tensors)
    files.write_table(run.folder / "probe_training.csv", pd.DataFrame(curve))
    checkpoint.unlink(missing_ok=True)
    return Made(["probes.safetensors", "probe_training.csv"], {"probe_sites": len(trained)})


def fields(run) -> Made:
    """Class means of all nodes and accuracies of all probes."""
    network, trained, tensors = run.network(), run.probes(), {}
    rows = {s: {"site": s, "nodes": network.width(s)} for s in run.sites}
    for split, silencings in (("train", ("readout",)), ("test", measure.SILENCING)):
        for silencing, found in measure.measure_each(network, trained, run.images(split), silencings).items():
            for site in run.sites:
                tensors[f"{split}/{silencing}/{site}"] = torch.from_numpy(found.class_means[site])
                tensors[f"{split}/accuracy/{site}"] = torch.from_numpy(found.label_accuracy[site])
                rows[site][f"{split}_accuracy"] = found.accuracy(site)
    files.write_tensors(run.folder / "fields.safetensors", tensors)
    files.write_table(run.folder / "probes.csv", pd.DataFrame(rows.values()))
    best = max(r["test_accuracy"] for r in rows.values())
    return Made(["fields.safetensors", "probes.csv"], {"best_probe_test_accuracy": best})


def study_heads(run) -> Made:
    """What the heads are experts for, and the controls."""
    d, images, test = run.definition, run.images("train"), run.images("test")
    means = {s: run.class_means(s) for s in run.sites}
    study = heads_study.Study(run.build, run.network(), run.probes(), means, images, test, d.probes, d.heads, d.seed)
    labels = study.labels()
    tables = {"heads": labels, "heads_encoders": study.encoders(labels), "heads_cooperation": study.cooperation()}
    for name, table in tables.items():
        files.write_table(run.folder / f"{name}.csv", pd.DataFrame(table))
    return Made([f"{name}.csv" for name in tables], {"removed_heads": len(study.sites) * study.heads})


def prune(run) -> Made:
    """The network masked by ANDC and its baselines: accuracy, cost, latency."""
    readout = masked.readout_nodes(run.network(), run.images("train"))
    study = _study(run, readout)
    journal = files.Journal(run.folder / ".andc.jsonl", run.inputs("andc"))
    rows, labels = study.rows(
        list(andc_study.cells(run.definition.andc, len(study.network.encoders))), journal, run.deadline
    )
    sizes, times = _smaller(run, study)
    tables = {"andc": rows, "andc_labels": labels, "andc_cost": sizes, "andc_latency": times}
    for name, table in tables.items():
        files.write_table(run.folder / f"{name}.csv", pd.DataFrame(table))
    tensors = {"class_means": torch.from_numpy(readout.class_means), "weight": torch.from_numpy(readout.weight)}
    files.write_tensors(run.folder / "readout.safetensors", tensors)
    journal.path.unlink()
    names = [f"{name}.csv" for name in tables] + ["readout.safetensors"]
    return Made(names, {"andc_networks": len(rows)}, {"seconds": journal.seconds})


def train_pruned(run) -> Made:
    """New networks trained with masks of the run's network, or of its baselines, from their first step."""
    tensors, _ = files.read_tensors(run.folder / "readout.safetensors")
    study = _study(run, andc.Nodes(**{name: t.numpy() for name, t in tensors.items()}))
    journal = files.Journal(run.folder / ".scratch.jsonl", run.inputs("scratch"))
    rows, _ = study.rows(run.definition.scratch.cells(), journal, run.deadline)
    columns = [*andc_study.KEY, "kept", "top1", "top5", "images", "empty"]
    files.write_table(run.folder / "scratch.csv", pd.DataFrame(rows, columns=columns))
    journal.path.unlink()
    return Made(["scratch.csv"], {"scratch_networks": len(rows)}, {"seconds": journal.seconds})


def try_augmentations(run) -> Made:
    """The run's network trained with other augmentations, each judged on training images that were held out."""
    training = run.definition.training
    policies = trials.policies(training.augmentation)
    rows = _try(run, "policy", {name: dataclasses.replace(training, augmentation=p) for name, p in policies.items()})
    files.write_table(run.folder / "augmentation.csv", pd.DataFrame(rows))
    trials.done("policy", run.folder)
    return Made(["augmentation.csv"], {"augmentations": len(rows)}, {"seconds": sum(row["seconds"] for row in rows)})


def try_recipes(run) -> Made:
    """The run's network trained by each recipe of [trials], judged on training images that were held out."""
    rows = _try(run, "trial", run.definition.trials)
    for row, recipe in zip(rows, run.definition.trials.values(), strict=True):
        row["recipe"] = recipe.differences()
    files.write_table(run.folder / "trials.csv", pd.DataFrame(rows))
    trials.done("trial", run.folder)
    return Made(["trials.csv"], {"trials": len(rows)}, {"seconds": sum(row["seconds"] for row in rows)})


def _try(run, kind: str, recipes: dict[str, Recipe]) -> list[dict]:
    images = run.images("train")
    try:
        parts = images, run.images("validation")
    except ValueError:  # the set has no such split
        parts = trials.hold_out(images)
    return trials.rows(kind, recipes, run.definition, *parts, run.folder, run.device, run.deadline)


def train_cnn(run) -> Made:
    """A convolutional network trained on the run's images as its transformer was, and its filters measured."""
    d, images, test = run.definition, run.images("train"), run.images("test")
    checkpoint = run.folder / ".cnn.safetensors"

    def build() -> cnn.CNN:
        return cnn.CNN(len(images.label_names))

    network, curve = train.train(
        build,
        d.training,
        images,
        d.seed,
        checkpoint,
        device=run.device,
        deadline=run.deadline,
        identity=run.inputs("cnn"),
    )
    untrained = cnn.settled(train.initialised(build, d.seed), images.balanced(1000)).to(run.device)
    files.write_table(run.folder / "cnn.csv", filters.table(network, untrained, images, test, d.probes, d.cnn, d.seed))
    files.write_tensors(run.folder / "cnn.safetensors", network.state_dict())
    checkpoint.unlink(missing_ok=True)
    results = {
        "cnn_test_accuracy": train.accuracy(train.predict(network, test), test.labels),
        "cnn_train_accuracy": curve[-1]["train_accuracy"] if curve else 0.0,
        "cnn_parameters": sum(p.numel() for p in network.parameters()),
    }
    return Made(["cnn.csv", "cnn.safetensors"], results)


def _study(run, readout: andc.Nodes) -> andc_study.Study:
    d = run.definition
    nodes = {s: andc.Nodes(run.class_means(s, "train"), run.weight(s)) for s in run.sites} | {READOUT: readout}
    images, test = run.images("train"), run.images("test")
    return andc_study.Study(run.build, run.network(), nodes, images, test, d.training, d.andc, d.seed)


def _smaller(run, study: andc_study.Study) -> tuple[list[dict], list[dict]]:
    """Cost and latency of the network masked by ANDC in both feed-forward layers, at each threshold of retraining."""
    dense, sizes, times = run.network(), [], []
    scratch = run.folder / ".compact.safetensors"

    def size(network: CCT, stored: bool) -> dict:
        table = cost.cost(network)
        compact.save(scratch, network) if stored else files.write_tensors(scratch, network.state_dict())
        ff = table["module"].str.contains("linear")
        hidden = sum(e.linear1.out_features for e in network.encoders)
        return {
            "weights": int(table["parameters"].sum()), "ff_weights": int(table["parameters"][ff].sum()),
            "macs": int(table["macs"].sum()), "ff_macs": int(table["macs"][ff].sum()),
            "hidden_nodes": hidden, "bytes": scratch.stat().st_size,
        }  # fmt: skip

    sizes.append({"threshold": 1.0, "network": "dense", "difference": 0.0} | size(dense, False))
    test = study.sweep_images.balanced(len(study.sweep_images.label_names))
    for threshold in study.recipe.retrained_thresholds:
        masks = study.masks(andc_study.row("none", "ff", threshold, "andc"))
        zeros = masked.settle(masked.apply(dense, masks))
        networks = {"dense": dense, "masked": zeros, "csr": compact.sparse(zeros)}
        with contextlib.suppress(ValueError):  # where an encoder has lost all its hidden nodes
            networks["compacted"] = compact.without_idle_nodes(zeros)
        expected = train.predict(zeros, test)
        for name in ("masked", "compacted"):
            if name in networks:
                gap = float(abs(train.predict(networks[name], test) - expected).max())
                row = {"threshold": threshold, "network": name, "difference": gap}
                sizes.append(row | size(networks[name], name == "compacted"))
        rows = latency(networks, run.definition.network.image_size, run.latency_batches, run.latency_rounds)
        times += [{"threshold": threshold} | row for row in rows]
    scratch.unlink()
    return sizes, times


def _coarse(images: data.ImageSet) -> list[int]:
    """The superclass of each label."""
    coarse = dict(zip(images.labels.tolist(), images.coarse_labels.tolist(), strict=True))
    return [coarse[i] for i in range(len(images.label_names))]
