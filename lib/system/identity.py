"""What a result depends on, as text that outlives the code: values by name, whatever their classes are called.

A field that a recipe is given later says which of its values means "as before there was this field":

    precision: str = field(default="auto", metadata={"as_before": "auto"})

With this value it is left out, so that results from before the field keep their identity. Its default counts like that
of any other field: where it changes, the identity of whatever does not set the field changes too.
"""

import dataclasses
import hashlib
import json


def resolved(value: object) -> object:
    """A (nested) dataclass as plain values by name of field, tuples as lists; 2.0 is 2, as in JSON."""
    if dataclasses.is_dataclass(value):
        named = ((f.name, resolved(getattr(value, f.name)), f.metadata) for f in dataclasses.fields(value))
        return {
            name: found
            for name, found, about in named
            if "as_before" not in about or found != resolved(about["as_before"])
        }
    if isinstance(value, dict):
        return {name: resolved(found) for name, found in value.items()}
    if isinstance(value, tuple | list):
        return [resolved(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def text(**parts: object) -> str:
    """Canonical JSON of named parts; neither their order nor that of fields matters. TypeError for other values."""
    return json.dumps({name: resolved(part) for name, part in parts.items()}, sort_keys=True)


def digest(**parts: object) -> str:
    """SHA-256 of `text`."""
    return hashlib.sha256(text(**parts).encode()).hexdigest()


def training_identity(recipe: object, seed: int, images, **parts: object) -> str:
    """What tells one training from another where no run does; images: the `lib.data.ImageSet` it learns from."""
    return text(recipe=recipe, seed=seed, data=[images.name, images.split, images.digest()], **parts)
