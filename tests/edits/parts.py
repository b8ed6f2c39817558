"""What programs are made of: small definitions, each with knobs to turn and, mostly, a place for what lies below.

A part is a text that defines names ending in ``$n``, and a ``use``: an expression of ``v``, an int, that gives an int.
``$inner`` stands for such an expression of ``v`` too: another part's use. ``$a``, ``$b`` and ``$c`` are numbers, unless
``knobs`` says what else may stand there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

NUMBERS = ("1", "2", "3", "5", "8")

#: Stands at the top of each program and of each of its modules.
PRELUDE = """\
import collections, contextlib, dataclasses, datetime, decimal, enum, fractions, functools, itertools, math, operator
import re, string, types, typing
import numpy as np
from dataclasses import dataclass, field
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, computed_field, field_validator
from pydantic import model_validator, validate_call
"""


@dataclass(frozen=True)
class Part:
    """One kind of definition."""

    text: str
    use: str = "h$n(v)"
    knobs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def turned(self) -> dict[str, tuple[str, ...]]:
        """Each knob of the text, with what it may be turned to."""
        named = {*re.findall(r"\$\{?([abc])\b", self.text + self.use)}
        return {name: self.knobs.get(name, NUMBERS) for name in sorted(named)}


def in_function(body: str, before: str = "", **knobs: tuple[str, ...]) -> Part:
    """A function of this body, ``h$n``."""
    return Part(f"{before}\ndef h$n(v):\n    {body}\n", knobs=knobs)


def in_class(body: str, use: str, **knobs: tuple[str, ...]) -> Part:
    """A class of this body, ``C$n``, and a function that uses it."""
    return Part(f"class C$n:\n    {body}\ndef h$n(v):\n    return {use}\n", knobs=knobs)
