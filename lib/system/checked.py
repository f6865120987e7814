"""Dataclasses whose values are checked, for type and range, when one is made: what `config.toml` may say."""

import functools
from dataclasses import field, fields
from typing import Annotated, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

Part = Annotated[float, Field(ge=0, lt=1)]
Parts = Annotated[tuple[Part, ...], Field(strict=False)]  # a list is a tuple; what is in it is checked as strictly
CONFIG = ConfigDict(strict=True, extra="forbid", validate_default=True, allow_inf_nan=False)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def checked(cls: type) -> type:
    """A frozen dataclass of pydantic that takes no value for another's type, but for whole numbers as float.

    What is wrong raises ValueError in one line: field, what was expected, what was got.
    """
    cls = dataclass(cls, frozen=True, config=CONFIG)
    init = cls.__init__

    @functools.wraps(init)
    def __init__(self, *arguments, **named):
        try:
            init(self, *arguments, **named)
        except ValidationError as error:
            names = [f.name for f in fields(cls)]
            raise ValueError("; ".join(_line(e, names) for e in error.errors())) from None

    cls.__init__ = __init__
    return cls


def added(default: object):
    """A field that a class was given later: results from before it keep their identity where it has this value.

    See `lib.system.identity`. If the default ever changes, `metadata` must still name the value that it had at first.
    """
    return field(default=default, metadata={"as_before": default})


def _line(error: dict, names: list[str]) -> str:
    if error["type"] == "value_error":  # of the class's own __post_init__
        return str(error["ctx"]["error"])
    place = error["loc"]
    if isinstance(place[0], int):  # a value given by position
        place = (*names[place[0] : place[0] + 1], *place[1:])
    message = error["msg"].replace("Input should", "must").replace("a valid tuple", "a list")
    return f"{'.'.join(map(str, place))}: {message}, got {error['input']!r}"
