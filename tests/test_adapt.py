"""Networks of other makes: what is measured on them against brute force, and the errors of naming sites."""

import numpy as np
import pytest
import torch
from torch import nn

from conftest import tiny_images
from lib import adapt, cnn, measure, snp
from lib.data import normalise
from lib.probes import Probe
from lib.recipes import ProbeRecipe
from lib.sites import Site, at, parse
from lib.study import Study
from lib.system import vision  # noqa: F401  (vit_pytorch imports torchvision through it)
from lib.training.probes import train_probes

from vit_pytorch import SimpleViT  # isort: skip

FAST = ProbeRecipe(epochs=2, batch=20, shift=0, flip=False)
VIT_SITES = {
    "1.mha": Site("transformer.layers.0.0.to_out", "input"),
    "1.ff": Site("transformer.layers.0.1", "output"),
    "2.ff_hidden": Site("transformer.layers.1.1.net.3", "input"),
    "2.pooled": Site("linear_head", "input"),
}


@pytest.fixture
def filters():
    torch.manual_seed(0)
    return cnn.CNN(5, (4, 6), (True, False)).eval()


@pytest.fixture
def vit():
    torch.manual_seed(0)
    sizes = dict(image_size=8, patch_size=4, dim=8, depth=2, heads=2, dim_head=4, mlp_dim=12)
    return SimpleViT(num_classes=5, **sizes).eval()


def pixels(images):
    return normalise(images.images, images.mean, images.std)


def random_probes(network):
    torch.manual_seed(1)
    probes = {s: Probe(network.width(s), 5).requires_grad_(False) for s in network.sites}
    for probe in probes.values():
        nn.init.normal_(probe.gate)
        nn.init.normal_(probe.weight)
    return probes


def of_labels(values, images):
    return np.stack([values[images.labels == i].mean(0) for i in range(5)])


def test_a_filter_is_a_node_and_a_position_a_token(filters, images):
    adapted = adapt.Adapted(filters, filters.sites, images)
    found = adapted.activations(pixels(images))
    first = filters.blocks[0](pixels(images))
    assert first.shape == (60, 4, 4, 4) and found["1.filters"].shape == (60, 16, 4)
    assert torch.equal(found["1.filters"][:, 6, 3], first[:, 3, 1, 2])
    assert [adapted.width(s) for s in adapted.sites] == [4, 6]
    assert torch.equal(adapted(pixels(images)), filters(pixels(images)))


@pytest.mark.parametrize("make", ["filters", "vit"])
def test_fields_are_those_of_the_probe_on_the_networks_own_activations(make, images, request):
    network = request.getfixturevalue(make)
    adapted = adapt.Adapted(network, VIT_SITES if make == "vit" else network.sites, images)
    probes = random_probes(adapted)
    found = measure.measure(adapted, probes, images, batch=7)
    for site, h in adapted.activations(pixels(images)).items():
        fields = snp.node_fields(found.class_means[site], probes[site].weight.numpy())
        np.testing.assert_allclose(fields.sum(0), of_labels(probes[site](h).numpy(), images), atol=1e-4)
        alone = probes[site].pool(h)[:, 2:3] * probes[site].weight[:, 2]
        np.testing.assert_allclose(fields[2], of_labels(alone.numpy(), images), atol=1e-4)
        right = (probes[site](h).argmax(1).numpy() == images.labels).mean()
        assert found.accuracy(site) == pytest.approx(right)


def test_the_sites_of_a_vit_are_what_its_equations_say(vit, images):
    h = adapt.Adapted(vit, VIT_SITES, images).activations(pixels(images))
    attention, forward = vit.transformer.layers[0]
    tokens = vit.to_patch_embedding(pixels(images)) + vit.pos_embedding
    after = tokens + attention.to_out(h["1.mha"])
    torch.testing.assert_close(forward(after), h["1.ff"])
    torch.testing.assert_close(vit.linear_head(h["2.pooled"][:, 0]), vit(pixels(images)))


def test_an_adapted_cct_gives_what_the_cct_gives(network, images):
    adapted = adapt.Adapted(network, {s: network.site(s) for s in network.sites}, images)
    ours, _ = train_probes(network, network.sites, images, FAST)
    theirs, _ = train_probes(adapted, adapted.sites, images, FAST)
    for silencing in measure.SILENCING:
        a = measure.measure(network, ours, images, silencing)
        b = measure.measure(adapted, theirs, images, silencing)
        for site in network.sites:
            assert adapted.width(site) == network.width(site)
            assert torch.equal(ours[site].weight, theirs[site].weight)
            np.testing.assert_array_equal(a.class_means[site], b.class_means[site])


def test_a_filters_field_at_a_flattened_readout_is_what_it_adds_alone(filters, images):
    site = "2.filters"
    adapted = adapt.Adapted(filters, {site: filters.sites[site]._replace(layout=adapt.flattened)}, images)
    assert adapted.width(site) == 6 * 4 * 4
    probe = random_probes(adapted)[site]
    found = measure.measure(adapted, {site: probe}, images)
    means, weight = (v.reshape(5, 6, 16) for v in (found.class_means[site], probe.weight.numpy()))
    fields = snp.filter_fields(means, weight)
    maps = filters.blocks(pixels(images)).detach()
    for n in range(6):
        alone = torch.zeros_like(maps)
        alone[:, n] = maps[:, n]
        np.testing.assert_allclose(fields[n], of_labels((alone.flatten(1) @ probe.weight.T).numpy(), images), atol=1e-4)
    np.testing.assert_allclose(fields.sum(0), found.class_means[site] @ probe.weight.numpy().T, atol=1e-4)


def test_a_flattened_readout_of_one_position_is_the_pooled_one():
    means, weight = np.random.default_rng(0).normal(size=(2, 5, 3))
    np.testing.assert_allclose(snp.filter_fields(means[..., None], weight[..., None]), snp.node_fields(means, weight))
    with pytest.raises(ValueError, match=r"must both be \(K, filters, positions\), got \(5, 3\) and \(5, 3\)"):
        snp.filter_fields(means, weight)


def test_a_study_answers_what_a_run_answers(filters, images):
    adapted = adapt.Adapted(filters, filters.sites, images)
    study = Study(adapted, images, tiny_images(split="test"), FAST)
    table = study.statistics()
    assert table["site"].tolist() == study.sites and table["nodes"].tolist() == [4, 6]
    site = study.sites[1]
    fields = snp.node_fields(study.class_means(site, "test", "input"), study.weight(site))
    np.testing.assert_array_equal(study.fields(site, silencing="input"), fields)
    assert set(study.curve["site"]) == set(study.sites)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in adapted.modules())
    with pytest.raises(ValueError, match="unknown split 'train'; known: test"):
        study.fields(site, "train")
    with pytest.raises(ValueError, match="unknown site '3.filters' .did you mean '2.filters'"):
        study.weight("3.filters")


class Odd(nn.Module):
    """What a network can hand on that a probe cannot read."""

    def __init__(self):
        super().__init__()
        self.weights, self.twice, self.unused = nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Linear(1, 1)
        self.volume, self.pair, self.first = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x):
        h = self.twice(self.twice(self.weights(x)))
        self.volume(h[:, :, None])
        self.pair((h, h))
        self.first(h.flatten(2).permute(2, 0, 1))  # tokens first
        return h.mean((2, 3))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("weight", r"unknown module at site 'a': 'weight' \(did you mean 'weights'\?\); known: .*twice"),
        ("unused", "site 'a', the output of 'unused', is not reached in a forward pass"),
        ("twice", "is reached 2 times in one forward pass: name a module that is called once"),
        ("volume", r"expected tokens \(B, T, N\), maps \(B, C, H, W\) or vectors .* got shape \(2, 4, 1, 8, 8\)"),
        ("pair", "got a tuple; name a module inside or give the site a layout"),
        ("first", r"expected activations \(images, tokens, nodes\) of 2 images, got shape \(64, 2, 4\)"),
    ],
)
def test_a_site_that_cannot_be_measured_is_refused(module, message, images):
    with pytest.raises(ValueError, match=message):
        adapt.Adapted(Odd(), {"a": Site(module, "output")}, images)


def test_a_layout_reads_what_tokens_cannot(images):
    sites = {
        "first": Site("first", "output", lambda h: h.transpose(0, 1)),
        "pair": Site("pair", "output", lambda h: adapt.tokens(h[1])),
    }
    found = adapt.Adapted(Odd(), sites, images).activations(pixels(images))
    torch.testing.assert_close(found["first"], found["pair"])


def test_a_cnn_needs_a_pool_for_each_width():
    with pytest.raises(ValueError, match="each block needs a width and whether it pools, got 2 and 1"):
        cnn.CNN(5, (4, 6), (True,))


def test_settling_changes_no_weight(images):
    network = cnn.CNN(5, (4, 6), (True, False))
    before = [p.clone() for p in network.parameters()]
    assert not cnn.with_batch_statistics(network, images).training
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert network.blocks[0][2].running_mean.abs().sum() > 0


def test_site_names_are_parsed_and_chosen_by_place():
    names = ["1.mha", "1.ff_hidden", "2.mha", "10.ff_hidden"]
    assert parse("10.ff_hidden") == (10, "ff_hidden")
    assert at(names, "ff_hidden", "mha") == ["1.ff_hidden", "10.ff_hidden", "1.mha", "2.mha"]
    for name in ("mha", "a.mha", "1.", ""):
        with pytest.raises(ValueError, match="must be '<encoder>.<place>' with a whole number first, got"):
            parse(name)
