"""What the attention heads of a network are experts for, with every control that could take it back, as tables."""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lib import heads, measure, snp
from lib.data import LabelledSet, batches
from lib.encoders import Encoders
from lib.recipes import HeadsRecipe, ProbeRecipe
from lib.sites import Site, at, record
from lib.system.device import bar, products
from lib.system.files import Journal
from lib.training import evaluate, loop
from lib.training.probes import train_probes
from lib.training.resume import Deadline, Sums

PASSES = ("removed", "experts", "test", "untrained", "untrained-test", "shuffled", "shuffled-test")


class Unfinished(NamedTuple):
    """Where the experiment keeps what it has, so that it can be stopped: small results, and a file for each of PASSES.

    What was made under another identity counts for nothing.
    """

    journal: Journal
    passes: dict[str, Path]
    identity: str
    deadline: Deadline

    def sums(self, name: str) -> Sums:
        return Sums(self.passes[name], self.identity, self.deadline)

    def once(self, key: dict, compute: Callable[[], object]):
        """The result of a key, from the journal or computed; OutOfTime before the deadline comes."""
        if key not in self.journal:
            self.deadline.check(f"the study of heads, before {', '.join(map(str, key.values()))}")
        return self.journal.once(key, compute)


class HeadExperiment:
    """The heads of one network, and the same network without each of them; each method returns rows of a table."""

    def __init__(
        self,
        build: Callable[[], Encoders],
        network: Encoders,
        probes: dict,
        class_means: dict[str, np.ndarray],
        train_images: LabelledSet,
        test_images: LabelledSet,
        probe_recipe: ProbeRecipe,
        recipe: HeadsRecipe,
        seed: int,
        unfinished: Unfinished,
    ):
        self.unfinished = unfinished
        self.build, self.network, self.recipe, self.seed = build, network, recipe, seed
        self.heads = network.config.heads
        self.sites = at(network.sites, "mha")
        self.probes = {s: probes[s] for s in self.sites}
        self.weights = {s: p.weight.detach().cpu().numpy() for s, p in self.probes.items()}
        self.train_images, self.test_images = train_images, test_images
        self.probe_recipe = dataclasses.replace(probe_recipe, epochs=recipe.control_probe_epochs)
        self.means = {s: class_means[s] for s in self.sites}  # on test images

    @cached_property
    def seen(self) -> dict[str, tuple[dict[str, np.ndarray], np.ndarray]]:
        """Pooled values by site, and labels, of the images that experts are found on and of the test images."""
        experts = self.train_images.balanced(self.recipe.expert_images, self.seed)
        return {
            split: (measure.pooled(self.network, self.probes, images, self.unfinished.sums(name)), images.labels)
            for split, name, images in (("train", "experts", experts), ("test", "test", self.test_images))
        }

    def labels(self) -> list[dict]:
        """One row an encoder, head and label: what the head recognises, what it tells alone, what its loss costs.

        nodes: c_h(i); share: of all heads' nodes; train_accuracy, accuracy: share of the label's training and test
        images that the probe gets right with this head alone; expert: the best head on training images; damage: by how
        much the network's test accuracy falls for this label when the head is removed.
        """
        removal, kept = self.test_images.balanced(self.recipe.removal_images), self.unfinished.sums("removed")
        rows, lost = [], damage(self.network, removal, self.recipe.precision, kept)
        for e, site in enumerate(self.sites):
            counts = heads.diagonal_counts(snp.Nodes(self.means[site], self.weights[site]), self.heads)
            share = heads.shares(counts.astype(float))
            alone = {split: self.alone(site, split) for split in self.seen}
            expert = alone["train"].argmax(0)
            for h, i in np.ndindex(counts.shape):
                rows.append(
                    {
                        "encoder": e + 1,
                        "head": h + 1,
                        "label": i,
                        "nodes": int(counts[h, i]),
                        "share": share[h, i],
                        "train_accuracy": alone["train"][h, i],
                        "accuracy": alone["test"][h, i],
                        "expert": int(expert[i] == h),
                        "damage": lost[e, h, i],
                    }
                )
        return rows

    def encoders(self, labels: list[dict]) -> list[dict]:
        """One row an encoder: symmetry breaking with its controls, expert accuracy with its, and damage."""
        K, H, L = len(self.test_images.label_names), self.heads, len(self.sites)
        column = {
            name: np.array([row[name] for row in labels], float).reshape(L, H, K)
            for name in ("share", "train_accuracy", "accuracy", "damage")
        }
        rows, controls = [], {name: self.control(name) for name in ("untrained", "shuffled")}
        for e, site in enumerate(self.sites):
            row = {"encoder": e + 1} | self._once("symmetry", site, self._tested, site)
            for found in controls.values():
                row |= found[site]
            row |= self._once("rotations", site, self.rotations, site)
            best = column["train_accuracy"][e].argmax(0)
            row["same_expert"] = float((column["accuracy"][e].argmax(0) == best).mean())
            row["expert_accuracy"] = float(column["accuracy"][e][best, np.arange(K)].mean())
            row["head_accuracy"] = float(column["accuracy"][e].mean())
            row |= self._once("margins", site, self._margins, site)
            row |= {
                f"damage_{k}": v for k, v in heads.rank_correlation(column["share"][e], column["damage"][e]).items()
            }
            row |= {
                f"expert_damage_{k}": v
                for k, v in heads.rank_correlation(column["train_accuracy"][e], column["damage"][e]).items()
            }
            rows.append(row)
        return rows

    def cooperation(self) -> list[dict]:
        """One row an encoder, head and number of nodes that speak, joining in random order: test accuracy.

        accuracy: over all labels; expert_accuracy: over the labels the head is the expert for; best_node and sum_nodes:
        the accuracy of its best single node, and that of all its nodes added up, over all labels; random_group: that of
        as many nodes of any heads.
        """
        rows, generator = [], np.random.default_rng(self.seed)
        values, labels = self.seen["test"]
        for e, site in enumerate(self.sites):
            pooled, weight = values[site], self.weights[site]
            groups = heads.by_head(np.arange(pooled.shape[1]), self.heads)
            expert = self.alone(site, "train").argmax(0)[labels]
            random = generator.permuted(np.tile(np.concatenate(groups), (self.recipe.orders, 1)), axis=1)
            chosen = random[:, : max(map(len, groups))]
            anyone = self._once("random groups", site, heads.growing_groups, pooled, weight, labels, chosen, np.mean)
            for h, nodes in enumerate(groups):
                orders = generator.permuted(np.tile(nodes, (self.recipe.orders, 1)), axis=1)
                joined = self._once(f"head {h + 1}", site, self._joined, site, nodes, orders, expert == h)
                about = {"encoder": e + 1, "head": h + 1}
                rows += [about | row | {"random_group": anyone[n]} for n, row in enumerate(joined)]
        return rows

    def _joined(self, site: str, nodes: np.ndarray, orders: np.ndarray, mine: np.ndarray) -> list[dict]:
        """What a head's nodes reach together: one row a number of nodes; `mine`: the images it is the expert for."""
        values, labels = self.seen["test"]
        pooled, weight = values[site], self.weights[site]
        single = [float((np.outer(pooled[:, n], weight[:, n]).argmax(1) == labels).mean()) for n in nodes]
        both = heads.growing_groups(
            pooled, weight, labels, orders, lambda right: (right.mean(), right[mine].mean() if mine.any() else 0)
        )
        about = {"best_node": max(single), "sum_nodes": sum(single)}
        return [
            {"nodes": n, "accuracy": every, "expert_accuracy": own} | about for n, (every, own) in enumerate(both, 1)
        ]

    def _once(self, what: str, site: str, compute: Callable, *arguments):
        """What `compute` finds, as plain numbers, once for each kind of result and site."""
        return self.unfinished.once({"result": what, "site": site}, lambda: plain(compute(*arguments)))

    def alone(self, site: str, split: str) -> np.ndarray:
        """Share of each label's images that the probe gets right with one head alive, (heads, K)."""
        groups = heads.by_head(np.arange(self.weights[site].shape[1]), self.heads)
        return np.stack([self._accuracy(site, split, nodes) for nodes in groups])

    def margins(self, site: str) -> heads.PermutationTest:
        """How much the best head of a label beats the average head, against random groups of nodes; test images."""
        generator = np.random.default_rng(self.seed)
        nodes = np.arange(self.weights[site].shape[1])

        def margin(order: np.ndarray) -> float:
            groups = heads.by_head(order, self.heads)
            return heads.expert_margin(np.stack([self._accuracy(site, "test", group) for group in groups]))

        null = np.array([margin(generator.permutation(nodes)) for _ in range(self.recipe.regroupings)])
        return heads.against(margin(nodes), null)

    def _accuracy(self, site: str, split: str, nodes: np.ndarray) -> np.ndarray:
        values, labels = self.seen[split]
        return evaluate.label_accuracy(values[site][:, nodes] @ self.weights[site][:, nodes].T, labels)

    def control(self, name: str) -> dict[str, dict[str, float]]:
        """The test of each site: "untrained", of the untrained network; "shuffled", of probes for shuffled labels."""
        return self.unfinished.once({"control": name}, lambda: plain(self._control(name)))

    def _control(self, name: str) -> dict[str, dict[str, float]]:
        network, images, kept = copy.deepcopy(self.network), self.train_images, self.unfinished
        if name == "untrained":
            network = loop.initialised(self.build, self.seed).to(next(self.network.parameters()).device)
        else:
            shuffled = np.random.default_rng(self.seed).permutation(images.labels)
            images = dataclasses.replace(images, labels=shuffled)
        probes, _ = train_probes(
            network, self.sites, images, self.probe_recipe, self.seed, kept.passes[name], kept.deadline, kept.identity
        )
        sums = kept.sums(f"{name}-test")
        means = measure.measure_each(network, probes, self.test_images, ("readout",), kept=sums)["readout"].class_means
        weights = {s: p.weight.detach().cpu().numpy() for s, p in probes.items()}
        return {s: _test(f"{name}_", means[s], weights[s], self.heads, self.recipe, self.seed) for s in self.sites}

    def _tested(self, site: str) -> dict[str, float]:
        return _test("", self.means[site], self.weights[site], self.heads, self.recipe, self.seed)

    def _margins(self, site: str) -> dict[str, float]:
        return {f"margin_{k}": v for k, v in dataclasses.asdict(self.margins(site)).items()}

    def rotations(self, site: str) -> dict[str, float]:
        """Mean polarisation over labels after random rotations of the nodes, inside heads and across them."""
        found = {}
        for name, groups in (("rotated", self.heads), ("mixed", 1)):
            values = list(self._polarisations(site, groups))
            found |= {f"{name}_mean": float(np.mean(values)), f"{name}_std": float(np.std(values, ddof=1))}
        return found

    def _polarisations(self, site: str, groups: int) -> Iterator[float]:
        generator = np.random.default_rng(self.seed)
        for _ in range(self.recipe.rotations):
            pair = heads.rotated(self.means[site], self.weights[site], groups, generator)
            yield float(np.nanmean(heads.polarisation(heads.diagonal_counts(snp.Nodes(*pair), self.heads))))


@torch.no_grad()
def damage(network: Encoders, images: LabelledSet, precision: str = "fp32", kept: Sums | None = None) -> np.ndarray:
    """Fall of the network's accuracy for each label when a head is removed, (encoders, heads, K).

    What lies before an encoder is computed once for all removals in it; a pass that was stopped goes on from `kept`.
    """
    depth, H, K = len(network.encoders), network.config.heads, network.config.classes
    places = {str(e): Site(f"encoders.{e}", "input") for e in range(depth)}
    entering: dict[str, torch.Tensor] = {}
    device = next(network.parameters()).device
    right = {str(key): torch.zeros(K, dtype=torch.long, device=device) for key in (None, *np.ndindex(depth, H))}
    done = kept.begin(right) if kept else 0
    network.eval()
    progress = bar(len(images), f"{images.thing}s without each head", done)
    for batch in batches(images, device, part=slice(done, None)):

        def count(key: tuple | None, logits: torch.Tensor, target: torch.Tensor = batch.labels):
            right[str(key)] += torch.bincount(target[logits.argmax(1) == target], minlength=K)

        with products(precision, device):
            with record(network, places, entering.__setitem__):
                count(None, network(*batch.given))
            for e, h in np.ndindex(depth, H):
                with without_head(network, e, h):
                    count((e, h), network.behind(e, entering[str(e)], *batch.given[1:]))
        progress.update(len(batch.labels))
        done += len(batch.labels)
        if kept:
            kept.after(done, len(images))
    progress.close()
    counts = np.bincount(images.labels, minlength=K)
    share = {key: hits.cpu().numpy() / counts for key, hits in right.items()}
    return np.stack([share["None"] - share[str(key)] for key in np.ndindex(depth, H)]).reshape(depth, H, K)


@contextmanager
def without_head(network: Encoders, encoder: int, head: int):
    """While the context is open, an encoder's output projection does not hear one head; both count from 0."""
    weight = network.get_submodule(network.site(f"{encoder + 1}.mha").module).weight
    size = weight.shape[1] // network.config.heads
    columns = slice(head * size, (head + 1) * size)
    with torch.no_grad():
        kept = weight[:, columns].clone()
        weight[:, columns] = 0
        try:
            yield
        finally:
            weight[:, columns] = kept


def _test(
    prefix: str, means: np.ndarray, weight: np.ndarray, count: int, recipe: HeadsRecipe, seed: int
) -> dict[str, float]:
    """The permutation test of a site as columns, NaN where no node recognises any label."""
    nodes, found = snp.Nodes(means, weight), dict.fromkeys(("observed", "null_mean", "null_std", "z", "p"), np.nan)
    if snp.recognised(nodes).any():
        found = dataclasses.asdict(heads.permutation_test(nodes, count, permutations=recipe.permutations, seed=seed))
    return {f"{prefix}{name}": value for name, value in found.items()}


def plain(found: object) -> object:
    """Numbers of NumPy, in lists and dicts, as Python's."""
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [plain(value) for value in found]
    return found.tolist() if isinstance(found, np.ndarray | np.generic) else found
