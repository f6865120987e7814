"""`make bench`: what training and the measures cost, each against a named alternative in the same process."""

import resource

import numpy as np
import torch

from bench import training as bench_training
from lib import cct, measure, snp
from lib.data.images import noise
from lib.probes import Probe
from lib.recipes import ProbeRecipe
from lib.system.timing import fastest, once
from lib.training.evaluate import predict
from lib.training.probes import train_probes

IMAGES, TOKENS, NODES, K = 10_000, 16, 256, 100


@torch.no_grad()
def one_pass(h: torch.Tensor, probe: Probe, labels: torch.Tensor) -> np.ndarray:
    """Fields (nodes, K, K) of all nodes of a site from one pass over its activations h (images, T, nodes)."""
    K = len(probe.weight)
    sums = torch.zeros(probe.weight.shape, dtype=torch.float64)
    for part, target in zip(h.split(250), labels.split(250), strict=True):
        sums.index_add_(0, target, probe.pool(part).double())
    means = sums / torch.bincount(labels, minlength=K)[:, None]
    return snp.node_fields(means.float().numpy(), probe.weight.numpy(force=True))


@torch.no_grad()
def one_node(h: torch.Tensor, probe: Probe, labels: torch.Tensor, node: int) -> np.ndarray:
    """Field (K, K) of a node the obvious way: silence all other weights, run the probe on every image, average."""
    K = len(probe.weight)
    silenced = Probe(h.shape[2], K)
    silenced.load_state_dict(probe.state_dict())
    silenced.weight[:, torch.arange(h.shape[2]) != node] = 0
    fields = torch.cat([silenced(part) for part in h.split(250)]).double()
    sums = torch.zeros(K, K, dtype=torch.float64).index_add_(0, labels, fields)
    return (sums / torch.bincount(labels, minlength=K)[:, None]).numpy()


def peak() -> float:
    """The most memory this process has held so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def nodes_of_a_site() -> tuple[str, float]:
    """All nodes of a site at once against one node at a time; returns a report and the largest difference."""
    torch.manual_seed(0)
    h, labels, probe = (
        torch.randn(IMAGES, TOKENS, NODES),
        torch.arange(IMAGES) % K,
        Probe(NODES, K).requires_grad_(False),
    )
    probe.gate.normal_(std=0.1), probe.weight.normal_()
    before = peak()
    fast, fields = fastest(lambda: one_pass(h, probe, labels)), one_pass(h, probe, labels)
    after_fast = peak()
    slow = NODES * fastest(lambda: one_node(h, probe, labels, 17))
    error = max(np.abs(fields[n] - one_node(h, probe, labels, n)).max() for n in (0, 17, NODES - 1))
    memory = (
        f"memory beyond the activations' {before:.0f} MiB: {after_fast - before:.0f} MiB and {peak() - before:.0f} MiB"
    )
    return (
        f"{NODES} nodes of a site, {IMAGES} images: one pass {fast:.2f} s; one node at a time {slow:.0f} s"
        f" ({NODES} times one node's)\n  ratio {slow / fast:.0f} (goal: at least 100);"
        f" largest difference {error:.1e}\n  {memory}"
    ), error


def all_sites() -> str:
    """Measuring every site of a network against a plain forward pass over the same images."""
    network = cct.CCT(cct.Config(width=64, ff_width=128, stem_widths=(32, 64))).eval()
    images = noise("random", "test", 1000, K, 32)
    probes = {s: Probe(network.width(s), K) for s in network.sites}
    trained = fastest(lambda: train_probes(network, network.sites, images, ProbeRecipe(epochs=1)))
    plain = fastest(lambda: predict(network, images))
    before = peak()
    measured = fastest(lambda: measure.measure(network, probes, images))
    return (
        f"all {len(probes)} sites, 1000 images: probes trained in {trained:.2f} s an epoch\n"
        f"  fields measured in {measured:.2f} s; plain forward pass {plain:.2f} s\n"
        f"  ratio {measured / plain:.2f} (goal: at most 1.15); {peak() - before:.0f} MiB beyond the plain pass"
    )


def random_nodes(nodes: int, labels: int = K) -> snp.Nodes:
    """Nodes with random class means and weights, float32."""
    return snp.Nodes(*np.random.default_rng(0).standard_normal((2, labels, nodes), np.float32))


def statistics_of_a_network() -> str:
    """Statistics of all nodes of CCT-7/3x1 at several thresholds and label orders, against those of their matrices."""
    sites = [random_nodes(width) for width in (256, 256, 512, 256, 256)] * 7
    orders = [np.random.default_rng(seed).permutation(K) for seed in range(5)]
    settings = [(threshold, order) for threshold in (0.1, 0.2, 0.3, 0.4, 0.5) for order in orders]

    def measured(some: list[snp.Nodes]) -> list[dict]:
        return [snp.site_statistics(nodes, *setting) for nodes in some for setting in settings]

    def by_matrices(nodes: snp.Nodes) -> list[dict]:
        return [snp.site_statistics(nodes.fields(), *setting) for setting in settings]

    nodes, part = sum(map(len, sites)), sites[0]
    fast, slow = once(lambda: measured(sites)), fastest(lambda: by_matrices(part), 1) * nodes / len(part)
    same = "the same" if by_matrices(part) == measured([part]) else "NOT the same"
    return (
        f"statistics of {len(sites)} sites ({nodes} nodes, K = {K}) at 5 thresholds and 5 label orders: {fast:.1f} s;"
        f" by K x K matrices {slow:.0f} s (as measured on {len(part)} of the nodes)\n"
        f"  ratio {slow / fast:.0f} (goal: at least 5); numbers are {same}"
    )


def statistics_of_many_nodes() -> str:
    """Statistics of as many nodes as all sites of a ViT-B/16 have, 12 x (768 + 768 + 3072 + 768 + 768), K = 1000."""
    nodes = random_nodes(12 * 6144, 1000)
    taken = once(lambda: snp.site_statistics(nodes))
    return (
        f"statistics of {len(nodes)} nodes, K = 1000: {taken:.0f} s (goal: at most 60); the process never held more"
        f" than {peak():.0f} MiB (goal: at most 2000)"
    )


def main() -> int:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    report, error = nodes_of_a_site()
    print(report, all_sites(), statistics_of_a_network(), statistics_of_many_nodes(), sep="\n")
    gpu = torch.cuda.is_available()
    if gpu:
        print(bench_training.report("cifar100-reference", 20, "cuda"))
    else:
        print(bench_training.report("cifar100-mini", 16, "cpu"), bench_training.staged("cifar100"), sep="\n")
    return 0 if error < 1e-5 else 1
