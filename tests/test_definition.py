"""What `config.toml` may say: checked for type and range on reading, taken over from its base key by key."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import tiny_config
from lib import cct, runs
from lib.recipes import RECIPES, REFERENCE, ProbeRecipe, PruningRecipe, TrainingRecipe
from lib.runs import rehearsal
from lib.runs.definition import Definition

NETWORK = "\n[network]\nclasses = 5\nwidth = 8\nheads = 2\nstem_widths = [8]\n"


def read(folder, **texts) -> Definition:
    """The first of several runs, by name and text."""
    for name, text in texts.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "config.toml").write_text(text, encoding="utf-8")
    return Definition.read(folder / next(iter(texts)) / "config.toml")


@pytest.mark.parametrize(
    ("section", "line", "error"),
    [
        ("training", 'epochs = "ten"', "epochs: must be a valid number, got 'ten'"),
        ("training", "epochs = 0", "epochs: must be greater than 0, got 0"),
        ("training", "epochs = -1", "epochs: must be greater than 0, got -1"),
        ("training", "lr = true", "lr: must be a valid number, got True"),
        ("training", "lr = -1", "lr: must be greater than 0, got -1"),
        ("training", "lr = nan", "lr: must be a finite number, got nan"),
        ("training", "batch = 0", "batch: must be greater than 0, got 0"),
        ("training", "batch = 1.5", "batch: must be a valid integer, got 1.5"),
        ("training", "label_smoothing = 1", "label_smoothing: must be less than 1, got 1"),
        (
            "training",
            "epochs = 5\nwarmup_epochs = 6",
            "warmup_epochs and cooldown_epochs must fit into epochs, got 6 + 0",
        ),
        ("training", "augmentation = 3", "[training.augmentation] must be a table, got 3"),
        ("training", 'recipe = ["x"]', "unknown recipe ['x']; known: default, reference"),
        ("training.augmentation", 'flip = "no"', "flip: must be a valid boolean, got 'no'"),
        ("training.augmentation", "flip = 1", "flip: must be a valid boolean, got 1"),
        ("training.augmentation", "shift = -1", "shift: must be greater than or equal to 0, got -1"),
        ("network", "heads = 0", "heads: must be greater than 0, got 0"),
        ("network", "heads = 3", "the width must be a multiple of the number of heads, got 256 and 3"),
        ("network", "width = 255", "stem_widths must end with the width 255, got (256,)"),
        ("network", "stem_widths = 256", "stem_widths: must be a list, got 256"),
        ("network", "image_size = 2\nkernel = 9", "the stem must leave at least one token of an image of 2 pixels"),
        ("probes", "epochs = 1.0", "epochs: must be a valid integer, got 1.0"),
        ("heads", "permutations = 1", "permutations: must be greater than or equal to 2, got 1"),
        ("andc", "thresholds = [0.1, 1.5]", "thresholds.1: must be less than 1, got 1.5"),
        ("andc", 'thresholds = ["0.1"]', "thresholds.0: must be a valid number, got '0.1'"),
        ("scratch", 'methods = ["andk"]', "methods.0: must be 'andc', 'permuted', "),
        ("cnn", "relabelled = 0", "relabelled: must be greater than 0, got 0"),
        ("cnn", "relabeled = 1", "unknown key of [cnn] 'relabeled' (did you mean 'relabelled'?)"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_on_reading(tmp_path, section, line, error):
    with pytest.raises(ValueError) as caught:
        read(tmp_path, one=f'data = "x"\n[{section}]\n{line}\n')
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'one' / 'config.toml'}: ") and error in message and "\n" not in message
    assert f"[{section}" in message or "unknown recipe" in message


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("seed = 1", "data is missing"),
        ("data = 3", "data: must be a valid string, got 3"),
        ('data = "x"\ntrials = 3', "[trials] must be a table of tables, got 3"),
        ('data = ""', "data: String should have at least 1 character, got ''"),
        ('data = "x"\nseed = -1', "seed: must be greater than or equal to 0, got -1"),
        ('data = "x"\nseed = "0"', "seed: must be a valid integer, got '0'"),
        ('data = "x"\nsede = 0', "unknown key 'sede' (did you mean 'seed'?)"),
        ('data = "x"\ntraining = 3', "[training] must be a table, got 3"),
        ("data = x", "Invalid value (at line 1, column 8)"),
        ("base = 3", "unknown base 3; known: one"),
        ('base = "../one"', "unknown base '../one'"),
    ],
)
def test_what_stands_outside_sections_is_checked_too(tmp_path, text, error):
    with pytest.raises(ValueError) as caught:
        read(tmp_path, one=text)
    assert str(caught.value).startswith(f"{tmp_path / 'one' / 'config.toml'}: ") and error in str(caught.value)


def test_whole_numbers_are_taken_for_float_and_lists_for_tuples(tmp_path):
    found = read(tmp_path, one='data = "x"\n[training]\nepochs = 3\nwarmup_epochs = 1\n[andc]\nthresholds = [0, 0.5]\n')
    assert found == Definition(
        "x", training=TrainingRecipe(3.0, warmup_epochs=1.0), andc=PruningRecipe(thresholds=(0.0, 0.5))
    )


def test_a_base_is_taken_over_key_by_key(tmp_path):
    training = "[training]\nepochs = 5\nlr = 1e-3\n[training.augmentation]\nshift = 1\nerase = 0.5\n"
    found = read(
        tmp_path,
        late='base = "middle"\n[training.augmentation]\nshift = 2\n[probes]\nepochs = 7\n',
        middle='base = "first"\nseed = 4\n[training]\nlr = 2e-3\n[network]\nwidth = 16\nstem_widths = [16]\n',
        first=f'data = "x"\nseed = 3{NETWORK}{training}',
    )
    assert (found.data, found.seed, found.probes.epochs) == ("x", 4, 7)
    assert (found.training.epochs, found.training.lr) == (5, 2e-3)
    assert (found.training.augmentation.shift, found.training.augmentation.erase) == (2, 0.5)
    assert (found.network.width, found.network.heads, found.network.classes) == (16, 2, 5)


def test_a_recipe_by_name_takes_the_place_of_the_bases(tmp_path):
    found = read(
        tmp_path,
        one='base = "two"\n[training]\nrecipe = "reference"\nlr = 1e-4\n',
        two='data = "x"\n[training]\nepochs = 7\n',
    )
    assert found.training == dataclasses.replace(REFERENCE, lr=1e-4)


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        ({"a": 'base = "a"'}, "a/config.toml: bases in a circle: a -> a"),
        (
            {"a": 'base = "b"', "b": 'base = "c"', "c": 'base = "b"'},
            "c/config.toml: bases in a circle: a -> b -> c -> b",
        ),
        ({"a": 'base = "b"', "b": 'base = "d"'}, "b/config.toml: unknown base 'd'; known: a, b"),
        ({"a": 'base = "b"', "b": 'data = "x"\nseed = -1'}, "b/config.toml: seed: must be"),
        (
            {"a": 'base = "b"\n[probes]\nlr = 0', "b": 'data = "x"'},
            "a/config.toml: [probes] lr: must be greater than 0",
        ),
    ],
)
def test_a_fault_in_a_line_of_bases_names_the_file_it_is_in(tmp_path, texts, error):
    with pytest.raises(ValueError) as caught:
        read(tmp_path, **texts)
    assert str(caught.value).startswith(f"{tmp_path}/{error}")


def test_recipes_made_in_python_are_checked_as_well():
    assert ProbeRecipe(1, 20, shift=0).batch == 20 and tiny_config(stem_widths=[8]).stem_widths == (8,)
    with pytest.raises(ValueError, match="^batch: must be greater than 0, got 0$"):
        ProbeRecipe(1, 0)
    with pytest.raises(
        ValueError, match="^epochs: must be a valid number, got 'x'; lr: must be greater than 0, got -1$"
    ):
        dataclasses.replace(TrainingRecipe(), lr=-1, epochs="x", first_lr=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingRecipe().lr = 1


@given(st.sampled_from([8, 12, 16]), st.integers(-2, 20))
def test_a_network_is_accepted_if_its_heads_divide_its_width(width, heads):
    valid = heads > 0 and width % heads == 0
    try:
        cct.CCT(tiny_config(width=width, heads=heads, stem_widths=(width,)))
    except ValueError:
        assert not valid
    else:
        assert valid


def test_every_defined_run_can_be_read_and_rehearsed():
    assert all(rehearsal.shorten(run.definition).training.epochs == 2 for run in runs.readable())
    assert [run.name for run in runs.readable()] == runs.known()
    assert all(rehearsal.shorten(Definition("x", training=recipe)) for recipe in RECIPES.values())
