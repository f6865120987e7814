"""The read-out of a site: sequence pooling and a linear layer without bias (phase 2 of arXiv:2501.12900).

a_t = softmax_t(g . h_t + b)        p_n = sum_t a_t h_tn        field_j = sum_n W_jn p_n
"""

import torch
from torch import Tensor, nn


class Probe(nn.Module):
    """Read-out of one site: activations (B, T, nodes) -> fields (B, K)."""

    def __init__(self, nodes: int, classes: int):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(nodes))  # g; zero: every token counts alike at the start
        self.bias = nn.Parameter(torch.zeros(()))  # b; cancels in the softmax, kept for the formula's sake
        self.weight = nn.Parameter(torch.empty(classes, nodes))  # W
        nn.init.trunc_normal_(self.weight, std=0.02)

    def pool(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """p, (B, nodes): each node's activation averaged over tokens with the weights a_t of the intact input.

        mask: bool (B, T), false where there is padding, which has no weight; None: there is none.
        """
        score = h @ self.gate + self.bias  # (B, T)
        a = (score if mask is None else score.masked_fill(~mask, -torch.inf)).softmax(1)
        return (a.unsqueeze(1) @ h).squeeze(1)

    def pool_alone(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """p when every other node's input is silenced, (B, nodes): a_t is recomputed from node n alone, for all n."""
        score = h * self.gate + self.bias  # (B, T, nodes)
        a = (score if mask is None else score.masked_fill(~mask.unsqueeze(2), -torch.inf)).softmax(1)
        return (a * h).sum(1)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.pool(h, mask) @ self.weight.T
