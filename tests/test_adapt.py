"""Networks of other makes: measured against brute force, left as they were found, and the errors of naming sites."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conftest import tiny_images
from lib import adapt, cnn, measure, snp
from lib.data import normalise
from lib.explorers.nodes import NodeExplorer
from lib.probes import Probe
from lib.recipes import ProbeRecipe
from lib.sites import Site, at, parse
from lib.study import Study
from lib.system.vision import torchvision
from lib.training.evaluate import predict
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
        ("weight", r"unknown module at site '1.a': 'weight' \(did you mean 'weights'\?\); known: .*twice"),
        ("unused", "site '1.a', the output of 'unused', is not reached in a forward pass"),
        ("twice", "is reached 2 times in one forward pass: name a module that is called once"),
        ("volume", r"'1.a'.* expected tokens \(B, T, N\), maps .* no doubt which, got shape \(2, 4, 1, 8, 8\)"),
        ("pair", "'1.a'.* got a tuple; name a module inside or give the site a layout"),
        ("first", r"expected activations \(images, tokens, nodes\) of 2 images, got shape \(64, 2, 4\)"),
    ],
)
def test_a_site_that_cannot_be_measured_is_refused(module, message, images):
    with pytest.raises(ValueError, match=message):
        adapt.Adapted(Odd(), {"1.a": Site(module, "output")}, images)


def test_a_layout_reads_what_tokens_cannot(images):
    sites = {
        "1.first": Site("first", "output", adapt.sequence_first),
        "1.pair": Site("pair", "output", lambda h: adapt.channels_first(h[1])),
    }
    found = adapt.Adapted(Odd(), sites, images).activations(pixels(images))
    torch.testing.assert_close(found["1.first"], found["1.pair"])
    for layout, message in ((lambda h: h[9], "IndexError"), (lambda h: h, "AttributeError")):
        with pytest.raises(ValueError, match=f"site '1.pair', .* its layout fails there: {message}"):
            adapt.Adapted(Odd(), {"1.pair": Site("pair", "output", layout)}, images)


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


def convolution(*more, channels=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), *more)


CONVOLVED = {"1.c": Site("0", "output")}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_network_is_measured_in_its_own_precision(dtype, images):
    network = convolution().to(dtype)
    study = Study(adapt.Adapted(network, CONVOLVED, images), images, tiny_images(split="test"), FAST)
    single = adapt.Adapted(convolution(), CONVOLVED, images).activations(pixels(images))["1.c"]
    found = study.network.activations(pixels(images))["1.c"]
    assert network[0].weight.dtype == dtype and found.dtype == torch.float32
    torch.testing.assert_close(found, single, atol=0.03, rtol=0.03)
    assert np.isfinite(study.statistics()["accuracy"]).all()


def test_a_network_is_left_as_it_was_found(images):
    network = convolution(nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(144, 5)).train()
    network[1].eval().requires_grad_(False)
    network[0].to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learns = [p.requires_grad for p in network.parameters()]
    adapted = adapt.Adapted(network, CONVOLVED, images)
    Study(adapted, images, tiny_images(split="test"), FAST)
    predict(adapted, images)
    assert [m.training for m in network] == [True, False, True, True, True] and network.training
    assert [p.requires_grad for p in network.parameters()] == learns
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_network_without_parameters_is_measured(images):
    adapted = adapt.Adapted(nn.Sequential(nn.AvgPool2d(4)), CONVOLVED, images)
    study = Study(adapted, images, tiny_images(split="test"), FAST)
    blocks = pixels(tiny_images(split="test")).unflatten(3, (2, 4)).unflatten(2, (2, 4)).mean((3, 5))
    assert adapted.width("1.c") == 3
    torch.testing.assert_close(adapted.activations(pixels(tiny_images(split="test")))["1.c"], blocks.flatten(2).mT)
    assert study.weight("1.c").shape == (5, 3)


class Inferring(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = convolution(nn.ReLU(inplace=True))

    @torch.inference_mode()
    def forward(self, x):
        return self.network(x)


@pytest.mark.parametrize("place", ["network.0", "network", ""])
def test_probes_learn_from_a_network_in_inference_mode(place, images):
    sites = {"1.c": Site(place, "output")}
    study = Study(adapt.Adapted(Inferring(), sites, images), images, tiny_images(split="test"), FAST)
    plain = nn.Sequential(convolution(), nn.ReLU())
    there = {"1.c": Site("0" if place == "network.0" else "1", "output")}
    expected = Study(adapt.Adapted(plain, there, images), images, tiny_images(split="test"), FAST)
    np.testing.assert_array_equal(study.class_means("1.c"), expected.class_means("1.c"))


def test_what_outlives_a_hook_or_a_cache_is_a_copy(images):
    adapted = adapt.Adapted(convolution(nn.ReLU(inplace=True)), CONVOLVED, images)
    h = adapted.activations(pixels(images))["1.c"]
    torch.testing.assert_close(h, convolution()(pixels(images)).flatten(2).mT)
    assert h.min() < 0
    study = Study(adapted, images, tiny_images(split="test"), FAST)
    for array in (study.class_means, study.weight):
        expected = array("1.c").copy()
        array("1.c")[:] = 0
        np.testing.assert_array_equal(array("1.c"), expected)


class Named(nn.Module):
    """Calls its layers by keyword, one with its arguments in another order."""

    class Masked(nn.Module):
        def forward(self, input, mask):
            return input * mask

    def __init__(self):
        super().__init__()
        self.convolution, self.masked = convolution(), self.Masked()

    def forward(self, x):
        return self.masked(mask=torch.zeros(1), input=self.convolution(input=x))


def test_a_layer_called_by_keyword_is_measured_at_its_input(images):
    sites = {"1.in": Site("convolution", "input"), "1.masked": Site("masked", "input")}
    network = Named()
    found = adapt.Adapted(network, sites, images).activations(pixels(images))
    torch.testing.assert_close(found["1.in"], pixels(images).flatten(2).mT)
    torch.testing.assert_close(found["1.masked"], network.convolution(pixels(images)).flatten(2).mT)


class Shaped(nn.Module):
    """Hands on zeros of some shape behind the images, and images in some order."""

    def __init__(self, *shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        return torch.zeros(len(x), *self.shape)


@pytest.mark.parametrize(
    ("shape", "nodes"),
    [((4, 8, 8), 4), ((8, 8, 40), 40), ((1, 1, 7), 7), ((7, 1, 1), 7), ((3, 6), 6), ((2,), 2), ((8, 8, 8), None),
     ((4, 6, 8), None), ((2, 6), None)],
)  # fmt: skip
def test_shapes_are_read_where_they_leave_no_doubt(shape, nodes, images):
    def adapted(layout=None):
        return adapt.Adapted(Shaped(*shape), {"1.a": Site("", "output", layout)}, images)

    if nodes:
        assert adapted().width("1.a") == nodes
    else:
        with pytest.raises(ValueError, match=r"site '1.a', the output of '': .* no doubt which, got shape \(2, "):
            adapted()
        assert adapted(adapt.channels_last if len(shape) == 3 else adapt.tokens).width("1.a") == shape[-1]


def test_maps_of_images_that_are_not_square_have_their_proportions(images):
    wide = replace(images, images=np.repeat(images.images, 2, axis=2))
    for shape, nodes in (((4, 4, 8), 4), ((4, 8, 8), 8)):
        assert adapt.Adapted(Shaped(*shape), {"1.a": Site("", "output")}, wide).width("1.a") == nodes


def test_maps_of_a_swin_transformer_have_their_channels_last(images):
    sizes = dict(patch_size=[2, 2], embed_dim=12, depths=[2], num_heads=[2], window_size=[2, 2], num_classes=5)
    swin = torchvision.models.SwinTransformer(**sizes).eval()
    sites = {"1.out": Site("features.1", "output")}
    found = adapt.Adapted(swin, sites, images).activations(pixels(images))["1.out"]
    torch.testing.assert_close(swin.head(swin.norm(found).mean(1)), swin(pixels(images)))


def test_a_network_of_one_channel_gets_what_pillow_calls_grey(images):
    adapted = adapt.Adapted(convolution(channels=1), CONVOLVED, images)
    pillow = np.stack([np.asarray(Image.fromarray(i).convert("L")) for i in images.images])
    alike = replace(images, images=np.repeat(pillow[..., None], 3, axis=3))
    found, expected = (adapted.activations(pixels(i))["1.c"] for i in (images, alike))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)  # Pillow rounds to whole levels
    alone = convolution(channels=1)(pixels(alike)[:, :1]).flatten(2).mT
    torch.testing.assert_close(expected, alone)


class Viewing(nn.Module):
    def forward(self, x):
        return x.view(len(x), -1)


def test_a_network_that_needs_planes_gets_planes(images):
    found = adapt.Adapted(Viewing(), {"1.a": Site("", "output")}, images).activations(pixels(images))
    assert torch.equal(found["1.a"][:, 0], pixels(images).flatten(1))


def test_what_a_network_says_of_images_that_it_cannot_take_is_passed_on(images):
    with pytest.raises(RuntimeError, match="expected input.* to have 2 channels, but got 3 channels"):
        adapt.Adapted(convolution(channels=2), CONVOLVED, images)


@pytest.mark.parametrize("name", ["conv", "a.conv", "1."])
def test_names_of_sites_are_checked_when_they_are_given(name, images):
    with pytest.raises(ValueError, match=f"must be '<encoder>.<place>' with a whole number first, got '{name}'"):
        adapt.Adapted(convolution(), {name: Site("0", "output")}, images)
    with pytest.raises(ValueError, match="name at least one site"):
        adapt.Adapted(convolution(), {}, images)


def test_a_study_of_one_site_has_an_explorer(images):
    explorer = NodeExplorer(Study(adapt.Adapted(convolution(), CONVOLVED, images), images, images, FAST))
    assert explorer.site.value == "1.c" and explorer.node.max == 3


def test_a_module_of_two_names_is_measured_by_either(images):
    network = convolution(nn.ReLU())
    network.again = network[0]
    network.forward = lambda x: network[1](network[0](x))
    sites = {"1.c": Site("0", "output"), "2.c": Site("again", "output")}
    found = adapt.Adapted(network, sites, images).activations(pixels(images))
    assert torch.equal(found["1.c"], found["2.c"])


def by_the_equations(attention, x, mask=None):
    """Outputs of all heads side by side, (B, T, N), head by head; x: (B, T, N)."""
    q, k, v = nn.functional.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    found = []
    for part in torch.arange(x.shape[-1]).chunk(attention.num_heads):
        score = q[..., part] @ k[..., part].mT / len(part) ** 0.5
        found.append((score if mask is None else score + mask).softmax(-1) @ v[..., part])
    return torch.cat(found, -1)


class Encoding(nn.Module):
    """Rows of pixels as tokens, in a transformer of torch."""

    def __init__(self, causal, **how):
        super().__init__()
        self.rows, self.batch_first = nn.Linear(24, 8), how.get("batch_first", False)
        self.mask = nn.Transformer.generate_square_subsequent_mask(8) if causal else None
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, **how), 2, enable_nested_tensor=False)

    def forward(self, x):
        x = self.rows(x.permute(0, 2, 1, 3).flatten(2))
        return self.encoder(x if self.batch_first else x.transpose(0, 1), mask=self.mask)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("how", [{}, {"batch_first": True}, {"bias": False, "norm_first": True}])
def test_the_heads_of_a_transformer_of_torch_are_what_its_equations_say(how, causal, images):
    torch.manual_seed(0)
    network = Encoding(causal, **how)
    for p in network.parameters():
        nn.init.normal_(p, std=0.5)
    layout = adapt.tokens if network.batch_first else adapt.sequence_first
    sites = {
        "2.in": Site("encoder.layers.1.self_attn", "input", layout),
        "2.mha": Site("encoder.layers.1.self_attn", "heads"),
        "2.out": Site("encoder.layers.1.self_attn", "output", lambda y: layout(y[0])),
        "3.out": Site("encoder", "output", layout),
    }
    h = adapt.Adapted(network, sites, images).eval().activations(pixels(images))
    attention = network.encoder.layers[1].self_attn
    torch.testing.assert_close(h["2.mha"], by_the_equations(attention, h["2.in"], network.mask))
    torch.testing.assert_close(attention.out_proj(h["2.mha"]), h["2.out"])
    torch.testing.assert_close(h["3.out"], layout(network(pixels(images))))


def test_the_heads_of_torchvisions_vision_transformer(images):
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(8, 4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=5)
    block = "encoder.layers.encoder_layer_0"
    sites = {
        "1.in": Site(f"{block}.ln_1", "input"),
        "1.mha": Site(f"{block}.self_attention", "heads"),
        "1.after": Site(f"{block}.ln_2", "input"),
    }
    h = adapt.Adapted(vit.eval(), sites, images).eval().activations(pixels(images))
    attention = vit.get_submodule(f"{block}.self_attention")
    torch.testing.assert_close(h["1.in"] + attention.out_proj(h["1.mha"]), h["1.after"])
    with pytest.raises(ValueError, match="site '1.mha': an nn.MultiheadAttention has .* is a LayerNorm: name"):
        adapt.Adapted(vit, {"1.mha": Site(f"{block}.ln_1", "heads")}, images)
    with pytest.raises(ValueError, match="without calling it, as an nn.MultiheadAttention does .* side 'heads'"):
        adapt.Adapted(vit, {"1.mha": Site(f"{block}.self_attention.out_proj", "input")}, images)


@pytest.mark.parametrize("fused", [True, False])
def test_the_heads_of_timms_vision_transformer_are_the_input_of_their_projection(fused, images):
    transformers = pytest.importorskip("timm.models.vision_transformer")
    torch.manual_seed(0)
    vit = transformers.VisionTransformer(8, 4, embed_dim=8, depth=1, num_heads=2, mlp_ratio=1, num_classes=5).eval()
    own = vit.blocks[0].attn
    own.fused_attn = fused
    sites = {"1.in": Site("blocks.0.attn.qkv", "input"), "1.mha": Site("blocks.0.attn.proj", "input")}
    h = adapt.Adapted(vit, sites, images).activations(pixels(images))
    plain = nn.MultiheadAttention(8, 2, batch_first=True)
    plain.load_state_dict({"in_proj_weight": own.qkv.weight, "in_proj_bias": own.qkv.bias}, strict=False)
    torch.testing.assert_close(h["1.mha"], by_the_equations(plain, h["1.in"]))
