"""What the attention heads of a network are experts for, with every control that could take it back, as tables."""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from lib import heads, measure, snp
from lib.data import LabelledSet, batches
from lib.encoders import Encoders
from lib.recipes import HeadsRecipe, ProbeRecipe
from lib.sites import Site, at, record
from lib.system.device import bar
from lib.training import evaluate, loop
from lib.training.probes import train_probes


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
    ):
        self.build, self.network, self.recipe, self.seed = build, network, recipe, seed
        self.heads = network.config.heads
        self.sites = at(network.sites, "mha")
        self.probes = {s: probes[s] for s in self.sites}
        self.weights = {s: p.weight.detach().cpu().numpy() for s, p in self.probes.items()}
        self.train_images, self.test_images = train_images, test_images
        self.probe_recipe = dataclasses.replace(probe_recipe, epochs=recipe.control_probe_epochs)
        self.means = {s: class_means[s] for s in self.sites}  # on test images
        experts = train_images.balanced(recipe.expert_images, seed)
        self.seen = {
            split: (measure.pooled(network, self.probes, images), images.labels)
            for split, images in (("train", experts), ("test", test_images))
        }

    def labels(self) -> list[dict]:
        """One row an encoder, head and label: what the head recognises, what it tells alone, what its loss costs.

        nodes: c_h(i); share: of all heads' nodes; train_accuracy, accuracy: share of the label's training and test
        images that the probe gets right with this head alone; expert: the best head on training images; damage: by how
        much the network's test accuracy falls for this label when the head is removed.
        """
        removal = self.test_images.balanced(self.recipe.removal_images)
        rows, lost = [], damage(self.network, removal, self.recipe.precision)
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
        rows, controls = [], self.controls()
        for e, site in enumerate(self.sites):
            row = {"encoder": e + 1} | _test("", self.means[site], self.weights[site], H, self.recipe, self.seed)
            for name, (means, weights) in controls.items():
                row |= _test(f"{name}_", means[site], weights[site], H, self.recipe, self.seed)
            row |= self.rotations(site)
            best = column["train_accuracy"][e].argmax(0)
            row["same_expert"] = float((column["accuracy"][e].argmax(0) == best).mean())
            row["expert_accuracy"] = float(column["accuracy"][e][best, np.arange(K)].mean())
            row["head_accuracy"] = float(column["accuracy"][e].mean())
            margins = self.margins(site)
            row |= {f"margin_{k}": v for k, v in dataclasses.asdict(margins).items()}
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
            anyone = heads.growing_groups(pooled, weight, labels, random[:, : max(map(len, groups))], np.mean)
            for h, nodes in enumerate(groups):
                single = [float((np.outer(pooled[:, n], weight[:, n]).argmax(1) == labels).mean()) for n in nodes]
                orders = generator.permuted(np.tile(nodes, (self.recipe.orders, 1)), axis=1)
                mine = expert == h
                both = heads.growing_groups(
                    pooled,
                    weight,
                    labels,
                    orders,
                    lambda right, m=mine: (right.mean(), right[m].mean() if m.any() else 0),
                )
                for n, (every, own) in enumerate(both):
                    rows.append(
                        {
                            "encoder": e + 1,
                            "head": h + 1,
                            "nodes": n + 1,
                            "accuracy": every,
                            "expert_accuracy": own,
                            "best_node": max(single),
                            "sum_nodes": sum(single),
                            "random_group": anyone[n],
                        }
                    )
        return rows

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

    def controls(self) -> dict[str, tuple[dict, dict]]:
        """Class means and weights by site, of the untrained network and of probes trained on shuffled labels."""
        shuffled = np.random.default_rng(self.seed).permutation(self.train_images.labels)
        untrained = loop.initialised(self.build, self.seed).to(next(self.network.parameters()).device)
        pairs = {
            "untrained": (untrained, self.train_images),
            "shuffled": (self.network, dataclasses.replace(self.train_images, labels=shuffled)),
        }
        found = {}
        for name, (network, images) in pairs.items():
            probes, _ = train_probes(copy.deepcopy(network), self.sites, images, self.probe_recipe, self.seed)
            means = measure.measure(network, probes, self.test_images).class_means
            found[name] = means, {s: p.weight.detach().cpu().numpy() for s, p in probes.items()}
        return found

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
def damage(network: Encoders, images: LabelledSet, precision: str = "fp32") -> np.ndarray:
    """Fall of the network's accuracy for each label when a head is removed, (encoders, heads, K).

    What lies before an encoder is computed once for all removals in it.
    """
    depth, H = len(network.encoders), network.config.heads
    places = {str(e): Site(f"encoders.{e}", "input") for e in range(depth)}
    found: dict[tuple | None, list] = {key: [] for key in (None, *np.ndindex(depth, H))}
    entering: dict[str, torch.Tensor] = {}
    device = next(network.parameters()).device
    network.eval()
    progress = bar(len(images), f"{images.thing}s without each head")
    for batch in batches(images, device):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            with record(network, places, entering.__setitem__):
                found[None].append(network(*batch.given).argmax(1))
            for e, h in np.ndindex(depth, H):
                with without_head(network, e, h):
                    found[e, h].append(network.behind(e, entering[str(e)], *batch.given[1:]).argmax(1))
        progress.update(len(batch.labels))
    progress.close()
    labels, K = images.labels, network.config.classes
    counts = np.bincount(labels, minlength=K)
    right = {key: torch.cat(parts).cpu().numpy() == labels for key, parts in found.items()}
    share = {key: np.bincount(labels, hits, K) / counts for key, hits in right.items()}
    return np.stack([share[None] - share[key] for key in np.ndindex(depth, H)]).reshape(depth, H, K)


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
