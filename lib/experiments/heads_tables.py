"""Reading the tables of stage heads of one or several runs: every control of claim 5, and what each head owns.

All of it at the last encoder, in front of which there is nothing but the read-out.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib import heads

SYMMETRY = ("random heads", "untrained network")  # without which no symmetry is broken by training


class Control(NamedTuple):
    """What could take a claim back: its name, what was found in each seed, and whether that speaks for the claim."""

    name: str
    found: str
    seeds: tuple[bool, ...]  # in which of them it speaks for the claim

    @property
    def speaks(self) -> bool:
        """For the claim, in every seed."""
        return all(self.seeds)

    def __str__(self) -> str:
        """Its name, and in how many seeds it speaks against the claim, if in some only."""
        against = self.seeds.count(False)
        some = 0 < against < len(self.seeds)
        return self.name + f" in {against} of {len(self.seeds)} seeds" * some


def last(run) -> pd.Series:
    """The last encoder's row of `encoders`, with what whole heads and as many nodes of any reach.

    Beside its columns: excess, untrained_excess and shuffled_excess, see `heads.excess`; whole_accuracy,
    of a head, and group_accuracy, that of as many nodes of any heads, both over all test images, mean over heads;
    nodes, of a head.
    """
    row = encoders(run).iloc[-1]
    joined = run.table("heads_cooperation")
    joined = joined[joined["encoder"] == row["encoder"]]
    whole = joined[joined["nodes"] == joined["nodes"].max()]
    found = {
        f"{p}excess": heads.excess(row[f"{p}observed"], row[f"{p}null_mean"]) for p in ("", "untrained_", "shuffled_")
    }
    found |= {"whole_accuracy": whole["accuracy"].mean(), "group_accuracy": whole["random_group"].mean()}
    return pd.concat([row, pd.Series(found | {"nodes": int(joined["nodes"].max())})])


def encoders(run) -> pd.DataFrame:
    """The table "heads_encoders", with heads that tell a label equally well taken as such.

    same_expert: share of the labels of which training and test images name the same best head, where of equally good
    ones each counts as likely; tied: share of the labels without one expert; expert_accuracy: over those with one.
    """
    rows = {}
    for encoder, part in run.table("heads").groupby("encoder"):
        trained, tested = (by_head(part, column) for column in ("train_accuracy", "accuracy"))
        train, test = ((each == each.max(0)) / (each == each.max(0)).sum(0) for each in (trained, tested))
        expert = heads.owners(trained)
        owned = np.flatnonzero(expert >= 0)
        rows[encoder] = {
            "same_expert": (train * test).sum(0).mean(),
            "tied": (expert < 0).mean(),
            "expert_accuracy": tested[expert[owned], owned].mean() if len(owned) else np.nan,
        }
    found = run.table("heads_encoders")
    return found.assign(**pd.DataFrame.from_dict(rows, orient="index").loc[found["encoder"]].set_index(found.index))


def by_head(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column of one encoder's rows of the table "heads", (heads, K)."""
    return table.pivot(index="head", columns="label", values=column).to_numpy()


def _of_encoder(run, encoder: int | None) -> pd.DataFrame:
    """One encoder's rows of the table "heads"; the last one's for None."""
    table = run.table("heads")
    return table[table["encoder"] == (encoder or table["encoder"].max())]


def rotated(run) -> heads.PermutationTest:
    """The nodes of the last encoder's heads against rotated ones, `heads.rotation_test`."""
    site = f"{run.definition.network.depth}.mha"
    pair = (run.class_means(site), run.weight(site))
    return heads.rotation_test(*pair, run.definition.network.heads, seed=run.definition.seed)


def controls(runs: Iterable) -> list[Control]:
    """Every control of claim 5 that stage heads measures, from the runs of some seeds; the rules:

    random heads       polarisation exceeds that of nodes dealt to heads at random, p < 0.01
    untrained network  its excess (`heads.excess`) is larger than in the untrained network
    shuffled labels    and larger than with a probe trained on shuffled labels: else it is one of what nodes respond to,
                       whatever the read-out makes of it. Standard deviations would not compare: fewer nodes recognise
                       a label there, so that the same excess lies fewer of them from chance
    nodes rotated inside their heads
                       nodes are more polarised beyond chance than after such rotations, by more than two standard
                       deviations of these
    random groups' best
                       the best head for a label beats the average one by more than the best of random groups of nodes
                       does, by two standard deviations of these
    as many nodes of any heads
                       a head is right on more test images than these
    removal of a head  a label suffers from losing the head that has its nodes: the 95 % interval of the rank
                       correlation lies above zero

    A control in which no node recognises any label leaves nothing, and so speaks for the claim.
    """
    rows = [last(run) for run in runs]
    turned = [rotated(run) for run in runs]

    def control(name: str, speaks: Callable, text: Callable, of: Iterable = rows) -> Control:
        return Control(name, " / ".join(map(text, of)), tuple(bool(speaks(row)) for row in of))

    return [
        control("random heads", lambda r: r["p"] < 0.01, lambda r: f"excess {r['excess']:.2f}, z = {r['z']:.1f}"),
        *(
            control(
                name, lambda r, of=of: np.isnan(r[f"{of}_observed"]) or r["excess"] > r[f"{of}_excess"],
                lambda r, of=of: f"excess {r[f'{of}_excess']:.2f}, z = {r[f'{of}_z']:.1f}",
            )
            for name, of in (("untrained network", "untrained"), ("shuffled labels", "shuffled"))
        ),
        control(
            "nodes rotated inside their heads", more_than_rotated,
            lambda t: f"excess {t.null_mean:.2f}, z = {t.z:.1f}", turned,
        ),
        control("random groups' best", lambda r: r["margin_z"] > 2, lambda r: f"z = {r['margin_z']:.1f}"),
        control(
            "as many nodes of any heads", lambda r: r["whole_accuracy"] > r["group_accuracy"],
            lambda r: f"{r['group_accuracy']:.1%}, a head {r['whole_accuracy']:.1%}",
        ),
        control(
            "removal of a head", lambda r: r["damage_low"] > 0,
            lambda r: f"rho = {r['damage_rho']:.2f}, {r['damage_low']:.2f} to {r['damage_high']:.2f}",
        ),
    ]  # fmt: skip


def more_than_rotated(test: heads.PermutationTest) -> bool:
    """Whether nodes are more polarised than rotated ones, by two standard deviations of these; `test` as `rotated`."""
    return bool(np.isfinite(test.observed)) and not test.observed <= test.null_mean + 2 * test.null_std


def of_families(families: Mapping[str, list]) -> pd.DataFrame:
    """One row a run with its seeds, all controls as columns, means over seeds at the last encoder.

    seeds, labels, heads, nodes (of a head); excess, its standard deviation over seeds, that of rotated nodes, of the
    untrained network and of shuffled labels: polarisation beyond random heads, so that sizes compare;
    more_than_rotated: whether that of nodes exceeds that of rotated ones in every seed, as `controls` judges it;
    margin, of the best head over the average one, less that of random groups; head, group: accuracy of a head and of as
    many nodes of any heads; removal: rank correlation; tied: share of the labels without one expert; superclasses:
    adjusted Rand index of experts and superclasses, and its p; seeds_agree: adjusted Rand index of the experts of two
    seeds, mean over pairs, and the smallest p of a pair, times the number of pairs. NaN where there is nothing to
    compare.
    """
    rows = []
    for name, runs in families.items():
        found = pd.DataFrame([last(run) for run in runs])
        own = [experts(run) for run in runs]
        kin = [heads.partition_test(e, groups(run)) for e, run in zip(own, runs, strict=True) if has_groups(run)]
        pairs = [heads.partition_test(a, b) for a, b in combinations(own, 2)]
        turned = [rotated(run) for run in runs]
        rows.append(
            {
                "run": name,
                "seeds": len(runs),
                "labels": len(own[0]),
                "heads": runs[0].definition.network.heads,
                "nodes": int(found["nodes"].iloc[0]),
                "excess": found["excess"].mean(),
                "excess_std": found["excess"].std(),
                "rotated": np.mean([t.null_mean for t in turned]),
                "more_than_rotated": all(map(more_than_rotated, turned)),
                "untrained": found["untrained_excess"].mean(),
                "shuffled": found["shuffled_excess"].mean(),
                "margin": (found["margin_observed"] - found["margin_null_mean"]).mean(),
                "head": found["whole_accuracy"].mean(),
                "group": found["group_accuracy"].mean(),
                "removal": found["damage_rho"].mean(),
                "tied": found["tied"].mean(),
                "superclasses": np.mean([t.observed for t in kin]) if kin else np.nan,
                "superclasses_p": max(t.p for t in kin) if kin else np.nan,
                "seeds_agree": np.mean([t.observed for t in pairs]) if pairs else np.nan,
                "seeds_p": smallest_p(pairs),
            }
        )
    return pd.DataFrame(rows)


def smallest_p(tests: Iterable[heads.PermutationTest]) -> float:
    """The smallest p of some tests, times their number (Bonferroni); NaN without any. Undefined ones do not count."""
    p = [test.p for test in tests if np.isfinite(test.p)]
    return min(1.0, len(p) * min(p)) if p else np.nan


def experts(run, encoder: int | None = None) -> np.ndarray:
    """The head, from 0, that tells each label best alone, on training images, (K,); -1 where heads do so equally well.

    encoder: the last, if left out.
    """
    return heads.owners(by_head(_of_encoder(run, encoder), "train_accuracy"))


def has_groups(run) -> bool:
    """Whether the run's labels have superclasses."""
    return bool(run.superclasses)


def groups(run) -> np.ndarray:
    """The superclass of each label as a number from 0, in alphabetical order, (K,)."""
    return np.unique(run.superclasses, return_inverse=True)[1]


def owned(run) -> pd.DataFrame:
    """One row a label that has one expert: name, superclass ("" without), expert (from 1), its accuracy on test images.

    Most surely owned first: by how much the expert is better than the average head.
    """
    table = _of_encoder(run, None)
    accuracy, expert = by_head(table, "accuracy"), heads.owners(by_head(table, "train_accuracy"))
    labels = np.arange(len(expert))
    found = pd.DataFrame(
        {
            "name": run.label_names,
            "superclass": run.superclasses or [""] * len(labels),
            "expert": expert + 1,
            "accuracy": accuracy[expert, labels],
            "margin": accuracy[expert, labels] - accuracy.mean(0),
        }
    )
    return found[expert >= 0].sort_values("margin", ascending=False, kind="stable")
