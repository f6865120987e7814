"""Image sets: the parquet layout, and errors that say what to do."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conftest import tiny_images
from lib import data
from lib.system.errors import MissingData


def write_set(folder, split="train", labels=(0, 1, 1), size=(4, 4), columns=("image", "label"), names=("a", "b")):
    encoded = []
    for i in range(len(labels)):
        buffer = io.BytesIO()
        Image.fromarray(np.full((*size, 3), 10 * i, np.uint8)).save(buffer, "PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    table = pa.table({columns[0]: encoded, columns[1]: list(labels)})
    features = {columns[1]: {"names": list(names), "_type": "ClassLabel"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")


@pytest.fixture(autouse=True)
def own_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("MODUS_DATA", str(tmp_path))
    data.load.cache_clear()
    yield
    data.load.cache_clear()


def test_a_set_in_the_parquet_layout(tmp_path):
    write_set(tmp_path / "mine")
    found = data.load("mine", "train")
    assert found.images.shape == (3, 4, 4, 3) and found.images.dtype == np.uint8 and found.labels.dtype == np.int64
    assert found.images[:, 0, 0, 0].tolist() == [0, 10, 20] and found.labels.tolist() == [0, 1, 1]
    assert found.label_names == ["a", "b"]
    assert "mine" in data.known_sets()


def test_normalising_is_affine_in_the_pixels():
    images = np.array([[[[0, 255, 51]]]], np.uint8)
    x = data.normalise(images, (0.5, 0.5, 0.2), (0.5, 0.25, 1.0))
    assert x.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(x.flatten(), [-1, 2, 0], atol=1e-6)
    with pytest.raises(ValueError, match="uint8"):
        data.normalise(images.astype(np.float32), (0.5,) * 3, (0.5,) * 3)


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"unknown data set 'cifar10' \(did you mean 'cifar100'\?\)"):
        data.load("cifar10", "train")
    with pytest.raises(ValueError, match="unknown split 'dev'; known: train, validation, test"):
        data.load("cifar100", "dev")


def test_without_the_variable_a_set_is_looked_for_in_the_checkout(tmp_path, monkeypatch):
    monkeypatch.delenv("MODUS_DATA")
    monkeypatch.setattr(data.images, "ROOT", tmp_path)
    write_set(tmp_path / "data" / "mine")
    assert len(data.load("mine", "train")) == 3
    with pytest.raises(ValueError, match="unknown data set 'min'.*mine"):
        data.load("min", "train")


def test_a_split_that_a_folder_lacks_is_named(tmp_path):
    write_set(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"unknown split of mine .*'test'; known: train"):
        data.load("mine", "test")


def test_without_a_source_the_three_ways_are_named(monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(data.images, "_folders", lambda: [])
    monkeypatch.setattr("lib.system.vision.torchvision.datasets.CIFAR100", no_network)
    with pytest.raises(MissingData, match=r"(?s)\(1\) set MODUS_DATA.*\(2\).*\(3\) let torchvision"):
        data.load("cifar100", "test")


def test_damaged_sets_are_refused(tmp_path):
    write_set(tmp_path / "range", labels=(0, 1, 7))
    with pytest.raises(ValueError, match="labels must lie in 0 to 1, got 0 to 7"):
        data.load("range", "train")
    write_set(tmp_path / "columns", columns=("picture", "label"))
    with pytest.raises(ValueError, match="image column"):
        data.load("columns", "train")


def test_a_balanced_part_has_as_many_images_of_each_label():
    images = tiny_images(60)
    part = images.balanced(20, seed=1)
    assert np.bincount(part.labels).tolist() == [4] * 5
    assert np.array_equal(part.images, images.balanced(20, seed=1).images)
    assert images.balanced(0) is images and images.balanced(100) is images
