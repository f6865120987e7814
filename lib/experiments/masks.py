"""Masks of a network's layers by every rule, each with as many weights in a layer as ANDC keeps there."""

from collections.abc import Callable, Mapping

import numpy as np

from lib import andc
from lib.encoders import Encoders
from lib.experiments.masked import Scores
from lib.system.errors import unknown

METHODS = ("andc", *andc.DRAWN, *andc.SCORED)  # those that every threshold is tried with
EVERY = (*METHODS, *andc.CONTROLS)


class Masks:
    """The masks of one network; what is drawn depends on `seed`, the draw and the layer alone.

    nodes: of the sites beside the layers that are asked for; scores: gives the criteria of the methods that need
    activations or gradients.
    """

    def __init__(
        self,
        network: Encoders,
        nodes: Mapping[str, andc.Nodes],
        seed: int,
        scores: Callable[[], Mapping[str, Scores]] | None = None,
    ):
        self.network, self.nodes, self.seed, self.scores = network, nodes, seed, scores

    def of(
        self,
        method: str,
        threshold: float,
        layers: str = "ff",
        encoder: int = 0,
        reading: str = "diagonal",
        draw: int = 0,
    ) -> dict[str, np.ndarray]:
        """The mask of each layer that is pruned, (outputs, inputs); none by the method "dense".

        layers: "linear1", "linear2", "classifier", "ff" or "all"; encoder: the only one that is pruned, or 0.
        ValueError for an unknown method.
        """
        if method == "dense":
            return {}
        if method not in EVERY:
            raise unknown("method", method, ("dense", *EVERY))
        found = {}
        for number, (name, layer) in enumerate(self.network.layers.items()):
            place, _, kind = name.rpartition(".")
            if layers not in ("all", kind) and not (layers == "ff" and place):
                continue
            if encoder and place != str(encoder):
                continue
            weight = self.weight(name)
            rule = andc.layer_mask(layer, self.nodes, threshold, reading, weight)
            found[name] = self._as(method, rule, name, weight, (self.seed, draw, number))
        return found

    def weight(self, name: str) -> np.ndarray:
        """The weights of a layer, (outputs, inputs)."""
        return self.network.get_submodule(self.network.layers[name].module).weight.detach().cpu().numpy()

    def _as(self, method: str, rule: np.ndarray, name: str, weight: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
        if method == "andc":
            return rule
        if method == "magnitude":
            return andc.largest(np.abs(weight), int(rule.sum()))
        if method in andc.SCORED:
            return andc.largest(getattr(self.scores()[name], method), int(rule.sum()))
        return (andc.DRAWN | andc.CONTROLS)[method](rule, np.random.default_rng(seed))


def kept(masks: Mapping[str, np.ndarray]) -> float:
    """Share of the weights of the masked layers that is kept; 1 where nothing is masked."""
    return sum(int(m.sum()) for m in masks.values()) / sum(m.size for m in masks.values()) if masks else 1.0
