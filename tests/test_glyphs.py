"""The drawn image set: the same on every machine, balanced, with whole families held out."""

import numpy as np
import pytest

from lib import data
from lib.data import glyphs


@pytest.mark.parametrize("split", glyphs.FAMILIES)
def test_shapes_and_labels(split):
    images = glyphs.draw(split, per_label=1)
    assert images.images.shape == (100, 32, 32, 3) and images.images.dtype == np.uint8
    assert images.labels.dtype == np.int64 and sorted(images.labels) == list(range(100))
    assert len(set(images.label_names)) == 100
    assert images.require_every_class() is images


def test_same_seed_same_images():
    few, more, other = glyphs.draw("test", 1), glyphs.draw("test", 2), glyphs.draw("test", 1, seed=1)
    assert np.array_equal(few.images, more.images[:100])
    assert not np.array_equal(few.images, other.images)
    assert not np.array_equal(more.images[:100], more.images[100:])


def test_splits_draw_different_images():
    assert not np.array_equal(glyphs.draw("train", 1).images, glyphs.draw("validation", 1).images)


def test_test_families_are_held_out():
    assert not set(glyphs.FAMILIES["train"]) & set(glyphs.FAMILIES["test"])
    assert not set(glyphs.FAMILIES["validation"]) & set(glyphs.FAMILIES["test"])


@pytest.mark.parametrize("family", glyphs.TRAIN_FAMILIES + glyphs.TEST_FAMILIES)
def test_every_family_has_every_character(family):
    face = glyphs.faces(family)[0]
    drawn = {np.asarray(glyphs.mask(face, character)).tobytes() for character in glyphs.CHARACTERS}
    assert len(drawn) == 100  # a missing character would be drawn as the same box as another, or as nothing


def test_ink_stands_out():
    random = np.random.default_rng(0)
    for _ in range(100):
        ground, ink = glyphs._colours(random)
        assert abs((ground - ink) @ glyphs.LUMINANCE) >= glyphs.CONTRAST - 1e-6


def test_statistics_are_of_the_training_images():
    images = glyphs.draw("train", 10).images / 255
    mean, std = data.STATISTICS["glyphs"]
    assert np.allclose(images.mean((0, 1, 2)), mean, atol=0.03)
    assert np.allclose(images.std((0, 1, 2)), std, atol=0.03)


def test_unknown_split():
    with pytest.raises(ValueError, match="did you mean 'train'"):
        data.load("glyphs", "trian")


def test_missing_typeface():
    with pytest.raises(FileNotFoundError, match=r"pip install -r requirements\.txt"):
        glyphs.faces("no-such-family")
