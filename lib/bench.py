"""`python -m lib.bench`: what the measures cost, each against a named alternative in the same process."""

import resource
import sys
import time
import tracemalloc

import numpy as np
import torch

from lib import cct, measure, snp
from lib.data import ImageSet
from lib.probes import Probe
from lib.train import predict


def one_pass(h: torch.Tensor, probe: Probe, labels: torch.Tensor) -> np.ndarray:
    """Fields of all nodes of a site from one pass over its activations h (images, T, nodes)."""
    K, sums = len(probe.weight), torch.zeros(probe.weight.shape, dtype=torch.float64)
    for i in range(0, len(h), 250):
        sums.index_add_(0, labels[i : i + 250], probe.pool(h[i : i + 250]).double())
    means = sums / torch.bincount(labels, minlength=K)[:, None]
    return snp.node_fields(means.float().numpy(), probe.weight.numpy())


def one_node(h: torch.Tensor, probe: Probe, labels: torch.Tensor, node: int) -> np.ndarray:
    """The obvious way: silence every other node's weights, run the probe on all images, average its fields by label."""
    K = len(probe.weight)
    silenced = Probe(h.shape[2], K)
    silenced.load_state_dict(probe.state_dict())
    silenced.weight.data[:, torch.arange(h.shape[2]) != node] = 0
    fields = torch.cat([silenced(part) for part in h.split(250)]).double()
    return (
        torch.zeros(K, K, dtype=torch.float64).index_add_(0, labels, fields)
        / torch.bincount(labels, minlength=K)[:, None]
    ).numpy()


def seconds(work, repeat: int = 3) -> float:
    """The fastest of a few repetitions, after one to warm up."""
    work()
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


@torch.no_grad()
def main() -> int:
    torch.manual_seed(0)
    N, T, nodes, K = 10_000, 16, 256, 100
    h, labels = torch.randn(N, T, nodes), torch.arange(N) % K
    probe = Probe(nodes, K).requires_grad_(False)
    probe.gate.normal_(std=0.1), probe.weight.normal_()
    fast = seconds(lambda: one_pass(h, probe, labels))
    sample = [0, 17, 255]
    slow = seconds(lambda: one_node(h, probe, labels, 17), 1) * nodes
    fields = one_pass(h, probe, labels)
    error = max(np.abs(fields[n] - one_node(h, probe, labels, n)).max() for n in sample)

    network = cct.CCT(cct.Config(width=64, ff_width=128, stem_widths=(32, 64))).eval()
    images = ImageSet(
        "random",
        "test",
        np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 3), np.uint8),
        np.arange(1000) % K,
        [str(i) for i in range(K)],
    )
    probes = {s: Probe(network.width(s), K) for s in network.sites}
    plain = seconds(lambda: predict(network, images))
    all_sites = seconds(lambda: measure.measure(network, probes, images))
    tracemalloc.start()
    one_pass(h, probe, labels)
    peak = tracemalloc.get_traced_memory()[1]

    print(f"{torch.get_num_threads()} threads; {torch.__version__}")
    print(
        f"all {nodes} nodes of a site, {N} images: one pass {fast:.2f} s, one node at a time {slow:.0f} s (from one"
        f" node's time): {slow / fast:.0f} times as fast (goal: 100); largest difference {error:.1e}"
    )
    print(
        f"all {len(probes)} sites: {all_sites:.2f} s, plain forward pass {plain:.2f} s: {all_sites / plain:.2f} times (goal: at most 1.3)"
    )
    print(
        f"peak memory: {peak / 2**20:.0f} MiB of arrays for the fields of a site; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB in all"
    )
    return 0 if error < 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main())
