"""Every part that this version of Python compiles."""

from __future__ import annotations

import sys

from tests.edits.parts import Part, in_class, in_function
from tests.edits.parts_classes import CLASSES, DATA
from tests.edits.parts_functions import DECORATORS, FUNCTIONS
from tests.edits.parts_values import VALUES

#: What only newer versions of Python compile.
_NEWER = {
    (3, 12): {
        "a type alias": in_function(
            "return $inner + typing.get_args(K$n.__value__)[1]", "type K$n = typing.Annotated[int, $a]"
        ),
        "a function with a type parameter": Part("def h$n[T](v: T, k: int = $a) -> T:\n    return $inner + k\n"),
        "a type parameter's bound": Part(
            "def g$n[T: $a](v: T) -> T:\n    return v\ndef h$n(v):\n"
            "    return $inner + len(g$n.__type_params__[0].__bound__.__name__)\n",
            knobs={"a": ("int", "float", "complex")},
        ),
        "a class with a type parameter": Part(
            "class C$n[T]:\n    k = $a\n    def m(self, v: T) -> T:\n        return $inner + self.k\n",
            "C$n[int]().m(v)",
        ),
        "a comprehension in a class": in_class("k = [i * $a for i in range($b)]\n", "$inner + sum(C$n.k)"),
    },
    (3, 14): {
        "annotations of a function": Part(
            "def g$n(v: typing.Annotated[int, $a]):\n    return v\n"
            "def h$n(v):\n    return $inner + g$n.__annotations__['v'].__metadata__[0]\n"
        ),
        "a template string": in_function("return $inner + t'{K$n:$b}'.interpolations[0].value", "K$n = $a"),
        "a template string's text": in_function("return $inner + len(t'{v}' 'x' t'{$a}y'.strings[1]) * $b"),
    },
}

PARTS: dict[str, Part] = {
    **FUNCTIONS,
    **{f"a global: {said}": part for said, part in VALUES.items()},
    **DECORATORS,
    **CLASSES,
    **DATA,
}
for version, parts in _NEWER.items():
    if sys.version_info >= version:
        PARTS |= parts
