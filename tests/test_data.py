"""Image sets: the parquet layout, and errors that say what to do."""

import io
import json
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conftest import tiny_images
from lib import data
from lib.data import glyphs
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
    monkeypatch.setattr(data.sources, "ROOT", tmp_path)
    write_set(tmp_path / "data" / "mine")
    assert len(data.load("mine", "train")) == 3
    with pytest.raises(ValueError, match="unknown data set 'min'.*mine"):
        data.load("min", "train")


def test_the_splits_of_a_set_are_known_without_reading_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MODUS_DATA", str(tmp_path))
    for split in ("train", "val"):
        (tmp_path / "mine" / split / "a").mkdir(parents=True)
        (tmp_path / "mine" / split / "a" / "1.png").write_text("damaged", encoding="utf-8")
    assert data.splits("mine") == ("train", "validation") and data.splits("glyphs") == data.SPLITS
    assert data.splits("cifar100") == ("train", "test")  # torchvision's


def test_a_split_that_a_folder_lacks_is_named(tmp_path):
    write_set(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"unknown split of mine .*'test'; known: train"):
        data.load("mine", "test")


def test_without_a_source_the_three_ways_are_named(monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(data.sources, "folders", lambda: [])
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


def content(pixels, kind="PNG", **how) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


def write_rows(file, image, label):
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": image, "label": label}), file)


HALF = np.zeros((8, 8, 3), np.uint8)  # the upper half is white
HALF[:4] = 255


def test_one_decoder_for_every_form_of_an_image(tmp_path):
    Image.fromarray(HALF).save(tmp_path / "half.png")
    deep = HALF[..., 0].astype(np.uint16) * 257
    palette = Image.fromarray(HALF).quantize(2)
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=b"\x00\xff")
    forms = [content(HALF), tmp_path / "half.png", str(tmp_path / "half.png"), HALF.tolist(), HALF[..., 0].tolist()]
    forms += [content(deep), content(deep, "TIFF"), content(deep.astype(np.int32), "TIFF"), content(HALF[..., 0])]
    for form in [*forms, content(HALF[..., 0] > 0), file.getvalue()]:
        found = data.decode(form)
        assert found.dtype == np.uint8 and np.array_equal(found, HALF)


def test_sixteen_bits_are_rounded_to_eight():
    grey = np.array([[0, 128, 129, 257 * 100, 65535]], np.uint16)
    assert data.decode(content(grey))[0, :, 0].tolist() == [0, 0, 1, 100, 255]


@pytest.mark.parametrize(("orientation", "white"), [(1, "top"), (3, "bottom"), (6, "right"), (8, "left")])
def test_images_are_turned_as_the_camera_says(orientation, white):
    exif = Image.Exif()
    exif[274] = orientation
    found = data.decode(content(HALF, "JPEG", exif=exif))[..., 0].astype(int)
    sides = {"top": found[0], "bottom": found[-1], "left": found[:, 0], "right": found[:, -1]}
    assert max(sides, key=lambda side: sides[side].sum()) == white


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        (None, "there is no image"),
        (b"no image", "not an image that can be read"),
        (content(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))[:999], "not an image"),
        (content(np.ones((2, 2), np.float32), "TIFF"), "floating-point values have no scale"),
        (content(np.full((2, 2), 2**20, np.int32), "TIFF"), "values of 1048576 to 1048576 have no scale"),
        ([[0.5, 0.5]], "expected pixels, integers"),
        ([[1, 2], [3]], "inhomogeneous"),
        ([[256]], "pixels must lie in 0 to 255, got 256 to 256"),
        (np.zeros((3, 8, 8), np.uint8), r"expected pixels, integers \(H, W, 3\)"),
    ],
)
def test_what_is_no_image_is_refused(form, problem):
    with pytest.raises(ValueError, match=problem):
        data.decode(form)


@pytest.mark.parametrize("form", ["bytes", "struct", "path", "struct of a path", "pixels"])
def test_images_in_a_parquet_file(tmp_path, form):
    (tmp_path / "mine").mkdir()
    Image.fromarray(HALF).save(tmp_path / "mine" / "half.png")
    image = {
        "bytes": content(HALF),
        "struct": {"bytes": content(HALF), "path": "elsewhere.png"},
        "path": "half.png",
        "struct of a path": {"bytes": None, "path": str(tmp_path / "mine" / "half.png")},
        "pixels": HALF.tolist(),
    }[form]
    write_rows(tmp_path / "mine" / "train-0.parquet", [image] * 2, [0, 1])
    assert np.array_equal(data.load("mine", "train").images, [HALF, HALF])


@pytest.mark.parametrize(
    ("image", "label", "problem"),
    [
        ([content(HALF), None], [0, 1], r"train-0.parquet, row 1: there is no image"),
        ([content(HALF), content(HALF)[:45]], [0, 1], r"train-0.parquet, row 1: not an image that can be read"),
        ([content(HALF), b"?"], [0, 1], r"train-0.parquet, row 1: not an image that can be read"),
        ([content(HALF), content(HALF[:4])], [0, 1], r"row 1: images must all have one size, got 4 x 8 after 8 x 8"),
        (["lost.png"], [0], r"train-0.parquet, row 0: .*No such file"),
        ([1, 2], [0, 1], r"train-0.parquet, column image: expected \{bytes, path\}, bytes, .* got int64"),
        ([content(HALF)], [1.7], r"train-0.parquet, column label: expected integers or text, got double"),
        ([content(HALF)] * 2, [0, None], r"train-0.parquet, row 1: there is no label"),
        ([content(HALF)], [10**10], "labels without names .* number of rows, 1, got 10000000000 to"),
        ([content(HALF)], [-1], "labels without names must be numbered from 0 .* got -1 to -1"),
        (pa.array([], pa.binary()), pa.array([], pa.int64()), r"train-0.parquet has no rows"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_row(tmp_path, image, label, problem):
    write_rows(tmp_path / "mine" / "train-0.parquet", image, label)
    with pytest.raises(ValueError, match=problem):
        data.load("mine", "train")


def test_a_truncated_file_is_named(tmp_path):
    write_set(tmp_path / "mine")
    file = next((tmp_path / "mine").iterdir())
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=f"{file.name} cannot be read as parquet; make or fetch it again"):
        data.load("mine", "train")


def test_labels_by_name_have_the_same_numbers_in_every_split(tmp_path):
    write_rows(tmp_path / "mine" / "train-0.parquet", [content(HALF)] * 3, ["dog", "cat", "emu"])
    write_rows(tmp_path / "mine" / "test-0.parquet", [content(HALF)] * 2, pa.array(["emu", "dog"]).dictionary_encode())
    train, test = data.load("mine", "train"), data.load("mine", "test")
    assert train.label_names == test.label_names == ["cat", "dog", "emu"]
    assert train.labels.tolist() == [1, 0, 2] and test.labels.tolist() == [2, 1]
    write_rows(tmp_path / "mine" / "test-0.parquet", [content(HALF)] * 2, [0, 1])
    with pytest.raises(ValueError, match="labels must be of one type in all files"):
        data.load("mine", "train")


@pytest.mark.parametrize("layout", ["train-0.parquet", "train.parquet", "data/train-0.parquet", "train/0000.parquet"])
def test_the_layouts_of_the_hub(tmp_path, layout):
    write_rows(tmp_path / "mine" / layout, [content(HALF)] * 2, [0, 1])
    assert len(data.load("mine", "train")) == 2
    assert "mine" in data.known_sets()


def test_a_folder_of_images_a_label(tmp_path):
    for i, place in enumerate(("train/dog/b.png", "train/dog/a.png", "train/cat/in/c.JPG", "val/emu/d.png")):
        file = tmp_path / "mine" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, i, i)).save(file)
        (file.parent / "notes.txt").touch()
        (file.parent / "._a.png").touch()
    found = data.load("mine", "train")
    assert found.label_names == data.load("mine", "validation").label_names == ["cat", "dog", "emu"]
    assert found.labels.tolist() == [0, 1, 1] and found.images[:, 0, 0, 0].tolist() == [2, 1, 0]
    (tmp_path / "mine" / "train" / "dog" / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"mine/train/dog/a.png: not an image that can be read"):
        data.load("mine", "train")


def test_a_set_is_read_again_when_a_file_or_the_variable_changes(tmp_path, monkeypatch):
    file = tmp_path / "one" / "mine" / "train-0.parquet"
    write_rows(file, [content(HALF)], ["white"])
    monkeypatch.setenv("MODUS_DATA", str(tmp_path / "one"))
    first = data.load("mine", "train")
    assert np.shares_memory(first.images, data.load("mine", "train").images)
    write_rows(file, [content(HALF // 2)], ["grey!"])  # as long as before
    assert data.load("mine", "train").label_names == ["grey!"]
    write_rows(file.with_name("train-1.parquet"), ["half.png"], ["white"])
    Image.fromarray(HALF).save(file.with_name("half.png"))
    assert data.load("mine", "train").images[:, 0, 0, 0].tolist() == [127, 255]
    Image.fromarray(HALF // 255).save(file.with_name("half.png"))
    assert data.load("mine", "train").images[:, 0, 0, 0].tolist() == [127, 1]
    write_rows(tmp_path / "two" / "mine" / "train-0.parquet", [content(HALF)] * 5, [0] * 5)
    monkeypatch.setenv("MODUS_DATA", str(tmp_path / "two"))
    assert len(data.load("mine", "train")) == 5


@pytest.fixture
def few_glyphs(monkeypatch):
    """Drawn in a moment; the test split in full is kept for other tests."""
    monkeypatch.setattr(glyphs, "PER_LABEL", {"test": 1})
    monkeypatch.setattr(glyphs, "_drawn", lru_cache(glyphs._drawn.__wrapped__))


@pytest.mark.parametrize("name", ["mine", "glyphs"])
def test_a_loaded_set_cannot_be_edited(tmp_path, few_glyphs, name):
    write_rows(tmp_path / "mine" / "test-0.parquet", [content(HALF)], ["white"])
    found = data.load(name, "test")
    for array in (found.images, found.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    found.label_names[0] = "black"
    assert data.load(name, "test").label_names[0] != "black"
    batch = next(data.batches(found))  # without a warning that the array is not writable
    assert batch.inputs.shape[1] == 3


@pytest.mark.parametrize("value", [None, "", "file", "nowhere"])
def test_the_variable_is_named_where_it_may_be_wrong(tmp_path, monkeypatch, value):
    (tmp_path / "file").touch()
    monkeypatch.delenv("MODUS_DATA")
    if value is not None:
        monkeypatch.setenv("MODUS_DATA", value and str(tmp_path / value))
    expected = "MODUS_DATA must name a folder.*got" if value else r"unknown data set 'mine'.*\(MODUS_DATA is not set\)"
    with pytest.raises(ValueError, match=expected):
        data.load("mine", "train")


@pytest.mark.parametrize("labels", [np.array([0.0, 1.7]), np.array([[0], [1]])])
def test_a_set_takes_whole_numbers_as_labels_and_any_names(labels):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"labels must be integers \(N,\)"):
        data.ImageSet("mine", "train", images, labels, ["a", "b"])
    names = data.ImageSet("mine", "train", images, np.array([0, 1]), np.array([3, 4])).label_names
    assert names == ["3", "4"]


def test_names_are_readable_and_stay_apart():
    names = ["pickup_truck", "apple", "_", " ", "a_", "__", 'say "no"', ""]
    assert data.readable(names) == ["pickup truck", "apple", "_", " ", "a ", "__", 'say "no"', ""]
