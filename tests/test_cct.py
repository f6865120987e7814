"""The network: parameter counts and equations of the reference, and activations by site."""

import pytest
import torch
from torch.nn import functional as F

from conftest import tiny_config
from lib import cct
from lib.sites import record
from lib.system import vision  # noqa: F401  (vit_pytorch imports torchvision, which this makes importable)

from vit_pytorch.cct import CCT as PeerCCT  # isort: skip


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_of_the_reference():
    small = cct.cct_7_3x1_32(100)
    assert count(small) == 3_783_269 and count(small.encoders[0]) == 526_336
    assert count(cct.cct_7_7x2_224(102)) == 4_573_735
    assert (small.config.grid, cct.cct_7_7x2_224().config.grid) == (16, 14)


PLACES = ("mha", "ff_in", "ff_hidden", "ff", "out")


def test_activations_have_a_node_for_each_unit_and_leave_no_trace(network):
    x = torch.randn(3, 3, 8, 8)
    before = network(x)
    found = network.activations(x, network.sites)
    assert list(found) == network.sites == [f"{e}.{p}" for e in (1, 2) for p in PLACES]
    assert {tuple(h.shape) for s, h in found.items()} == {(3, 16, 8), (3, 16, 12)}
    assert all(h.shape[2] == network.width(s) for s, h in found.items())
    assert torch.equal(network(x), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_sites_obey_the_equations_of_an_encoder(network):
    h = network.activations(torch.randn(2, 3, 8, 8), network.sites)
    first, second = network.encoders
    torch.testing.assert_close(F.gelu(first.linear1(h["1.ff_in"])), h["1.ff_hidden"])
    torch.testing.assert_close(first.linear2(h["1.ff_hidden"]), h["1.ff"])
    torch.testing.assert_close(h["1.ff_in"] + h["1.ff"], h["1.out"])
    stream = second.norm1(h["1.out"] + second.attention.projection(h["2.mha"]))
    torch.testing.assert_close(stream, h["2.ff_in"])


def test_attention_maps_give_what_the_fused_attention_gives(network):
    x = torch.randn(2, 3, 8, 8)
    h = network.activations(x, ["1.out", "2.mha"])
    encoder = network.encoders[1]
    maps = network.attention_maps(x)[1]
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 2, 16))
    v = encoder.attention.split(encoder.pre_norm(h["1.out"]))[2]
    torch.testing.assert_close((maps @ v).transpose(1, 2).reshape(2, 16, 8), h["2.mha"])


def test_attention_from_its_parts_agrees_with_the_fused_one(network):
    """In bfloat16 a CPU computes attention from its parts."""
    attention, x = network.encoders[0].attention, torch.randn(2, 16, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = attention(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), attention(x), atol=1e-3, rtol=0.05)


def test_a_coarser_grid_averages_neighbouring_tokens(network):
    tokens = torch.randn(3, 16, 8)
    grid = tokens.transpose(1, 2).unflatten(2, (4, 4))
    expected = F.avg_pool2d(grid, 2).flatten(2).transpose(1, 2)
    torch.testing.assert_close(cct.coarsened(tokens, 2), expected)
    assert cct.coarsened(tokens, 1) is tokens
    x, shapes = torch.randn(2, 3, 8, 8), []
    with record(network, {"last": network.site("2.out")}, lambda _, h: shapes.append(h.shape[1])):
        network(x, 2), network(x, 4), network(x)
    assert shapes == [4, 1, 16]
    with pytest.raises(ValueError, match="a grid of 4 x 4 tokens cannot be averaged 3 x 3"):
        network(x, 3)


def test_stem_pooling_and_attention_agree_with_an_independent_implementation():
    """vit-pytorch's CCT has another block: it is pre-norm throughout, with other initial weights.

    Stem, positional embedding, final norm, pooling and classifier agree; so does attention, taken alone.
    """
    torch.manual_seed(0)
    ours = cct.CCT(tiny_config(image_size=16)).eval()
    peer = PeerCCT(
        img_size=16, embedding_dim=8, n_conv_layers=1, kernel_size=3, stride=1, padding=1, num_layers=2, num_heads=2,
        mlp_ratio=1.5, num_classes=5, positional_embedding="learnable",
    ).eval()  # fmt: skip
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        peer.tokenizer.conv_layers[0][0].weight.copy_(ours.stem.convolutions[0].weight)
        torch.testing.assert_close(ours.stem(x), peer.tokenizer(x))
        tokens = torch.randn(4, 64, 8)
        block = peer.classifier.blocks[0].self_attn
        block.qkv.weight.copy_(ours.encoders[0].attention.qkv.weight)
        block.proj.load_state_dict(ours.encoders[0].attention.projection.state_dict())
        torch.testing.assert_close(ours.encoders[0].attention(tokens), block(tokens))
        peer.classifier.attention_pool.load_state_dict(ours.pool.state_dict())
        weights = peer.classifier.attention_pool(tokens).softmax(1)
        torch.testing.assert_close((weights * tokens).sum(1), (ours.pool(tokens).softmax(1) * tokens).sum(1))


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean():
    encoder = cct.Encoder(tiny_config(), drop_path=0.25).train()
    torch.manual_seed(0)
    kept = encoder._drop(torch.ones(20_000, 1, 1)).flatten()
    assert torch.all((kept == 0) | torch.isclose(kept, torch.tensor(4 / 3)))
    assert kept.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 9, 8), torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)]
)
def test_wrong_images_are_refused(network, images):
    with pytest.raises(ValueError, match=r"floating point, normalised, of shape \(B, 3, 8, 8\)"):
        network(images)


def test_unknown_sites_are_named(network):
    with pytest.raises(ValueError, match=r"unknown site '3.mha'.*1.mha"):
        network.activations(torch.zeros(1, 3, 8, 8), ["3.mha"])
