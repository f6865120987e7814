"""What a result depends on: names of classes, order and added fields do not count, values and defaults do."""

import dataclasses
from dataclasses import field, make_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import tiny_config, tiny_images
from lib.probes import ProbeRecipe
from lib.recipes import Recipe
from lib.runs.definition import Definition
from lib.runs.pipeline import STAGES
from lib.system import identity

PART = [("epochs", float, field(default=2)), ("widths", tuple, field(default=(16, 32)))]
ADDED = ("precision", str, field(default="auto", metadata={"as_before": "auto"}))
VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.lists(st.integers()))


def recipe(*fields, name="Recipe", **values):
    return make_dataclass(name, fields or PART, frozen=True)(**values)


def same(a, b) -> bool:
    return identity.digest(part=a) == identity.digest(part=b)


def test_names_of_classes_and_the_order_of_fields_do_not_count():
    assert same(recipe(), recipe(name="Renamed"))
    assert same(recipe(), recipe(*PART[::-1]))
    nested = [recipe(("inner", object, field(default=recipe(name=name)))) for name in ("Recipe", "Renamed")]
    assert same(*nested)


def test_a_field_that_was_added_counts_only_where_it_changes_something():
    assert same(recipe(), recipe(*PART, ADDED))
    assert not same(recipe(), recipe(*PART, ADDED, precision="bf16"))
    inner = recipe(("stages", tuple, field(default=(), metadata={"as_before": ()})), name="Inner")
    section = ("section", object, field(default=inner, metadata={"as_before": inner}))
    assert same(recipe(), recipe(*PART, section))
    assert not same(recipe(), recipe(*PART, section, section=dataclasses.replace(inner, stages=(1,))))


def test_a_default_that_changed_counts():
    assert not same(recipe(), recipe(("epochs", float, field(default=3)), PART[1]))
    later = (*ADDED[:2], field(default="bf16", metadata=ADDED[2].metadata))
    assert not same(recipe(), recipe(*PART, later)) and same(recipe(), recipe(*PART, later, precision="auto"))


def test_equal_numbers_and_sequences_are_one_value():
    assert same(recipe(), recipe(epochs=2.0, widths=[16, 32]))
    assert not same(recipe(), recipe(epochs=2.5)) and not same(recipe(epochs=True), recipe(epochs=1))


@given(st.dictionaries(st.text(min_size=1), VALUES), st.randoms())
def test_the_order_of_parts_does_not_count(parts, random):
    shuffled = random.sample(list(parts.items()), len(parts))
    assert identity.digest(**parts) == identity.digest(**dict(shuffled))


def test_what_is_no_value_is_refused():
    with pytest.raises(TypeError, match="not JSON serializable"):
        identity.digest(part={1, 2})


def test_stages_use_parts_of_the_definition_in_full():
    parts = identity.resolved(Definition("tiny", 0, tiny_config()))
    assert {name for about in STAGES.values() for name in about.uses} <= set(parts)
    assert parts["network"]["stem_widths"] == [8] and parts["training"]["augmentation"]["shift"] == 4


def test_a_training_without_a_run_is_told_by_its_recipe_seed_and_images():
    images = tiny_images()
    found = {
        identity.training_identity(*arguments)
        for arguments in (
            (Recipe(), 0, images),
            (Recipe(), 1, images),
            (Recipe(lr=1e-3), 0, images),
            (ProbeRecipe(), 0, images),
            (Recipe(), 0, tiny_images(30)),
            (Recipe(), 0, tiny_images(split="test")),
        )
    }
    assert len(found) == 6 and identity.training_identity(Recipe(), 0, images) in found
