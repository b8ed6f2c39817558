"""Rows of the edit table for what newer versions of Python write or compile otherwise: from which version, and edits."""

# ruff: noqa: E501 - a cell is a line

from __future__ import annotations

import sys
from typing import TypeVar

Row = TypeVar("Row")

_K = "class K:\n def m(self): return 1\n", "class K:\n def m(self): return 2\n"
_H = "def h(): return 1\n", "def h(): return 2\n"
_H_KEPT = "# why\ndef h():\n 'Doc.'\n return 1  # one\nunused = 3\n"

#: What reaches ``h``: an edit of it counts, a comment in it doesn't.
_REACHES_H: dict[tuple[int, int], dict[str, str]] = {
    (3, 11): {
        "an inlined comprehension": "def f(x): return [h() for _ in x]",
        "inlined comprehensions in each other, with a lambda": "def f(x): return {a: [h() for b in a if (lambda: h())()] for a in x}",
        "a comprehension in a class": "class C:\n v = [h() for _ in 'ab']\n def m(self): return [h() for _ in 'ab']\ndef f(x): return C().m()",
        "a comprehension in a class inside": "def f(x):\n class D:\n  v = [h() for _ in x]\n return D.v",
        "a comprehension over a name that is a cell outside it": "def f(x):\n g = lambda: x\n return [h() for x in x], g",
        "super without arguments": "class B:\n def m(self): return h()\nclass C(B):\n def m(self): return super().m()\ndef f(x): return C().m()",
    },
    (3, 12): {
        "a method of a generic class": "class C[T: int]:\n def m(self, x: T): return h()\ndef f(x): return C().m(1)",
        "a generic function inside": "def f(x):\n def g[T](y: T) -> T: return h()\n return g(x)",
        "a generic helper": "def g[T](y: T) -> T: return h()\ndef f(x): return g(x)",
        "a default of a generic function": "def f[T](x: T, y=h()): return y",
        "a call nested in quotes of its own in an f-string": "def f(x): return f'{f'{h()}'}'",
    },
    (3, 14): {
        "a t-string": "def f(x): return [i.value for i in t'a {h():>{x}} b'.interpolations]",
        "a format of a t-string": "def f(x): return t'{x:{h()}}'",
        "a comprehension in a t-string": "def f(x): return t'{[h() for _ in x]!r}'",
        "an annotation that is evaluated when it is read": "def g(x: h()): return x\ndef f(x): return g.__annotations__",
    },
}
#: What reaches the class ``K`` by an annotation, a bound, a default or an alias.
_REACHES_K: dict[tuple[int, int], dict[str, str]] = {
    (3, 11): {
        "an annotation of a class": "class C:\n a: K\ndef f(x): return typing.get_type_hints(C)['a']().m()",
        "an annotation of a function inside": "def f(x):\n def g(y: K): return y\n return g.__annotations__['y']().m()",
    },
    (3, 12): {
        "the bound of a type parameter": "def f[T: K](x: T): return x",
        "the bound of a helper's type parameter, which hints give": "def g[T: K](x: T): return x\ndef f(x): return typing.get_type_hints(g)['x'].__bound__().m()",
        "the bound of a type parameter that no annotation names": "def g[T: K](x): return x\ndef f(x): return g.__type_params__[0].__bound__().m()",
        "the bound of a type parameter inside": "def f(x):\n def g[T: K](y: T): return y\n return g.__type_params__[0].__bound__().m()",
        "a type alias": "type A = K\ndef f(x): return A.__value__().m()",
        "a type alias inside": "def f(x):\n type A = K\n return A.__value__().m()",
        "a type alias as an annotation": "type A = list[K]\ndef f(x: A): return x",
    },
    (3, 13): {
        "the default of a type parameter": "def f[T = K](x: T): return x",
        "the default of a parameter for parameters": "def f[**P = [K]](x: typing.Callable[P, int]): return x",
    },
    (3, 14): {
        "a class that is defined below the annotation": "def f(x: list[L]): return x\nclass L(K): pass",
        "a class that is defined below the class it annotates": "class C:\n a: list[L]\nclass L(K): pass\ndef f(x): return C()",
    },
}
_RECOMPUTED: dict[tuple[int, int], dict[str, tuple[str, str]]] = {
    (3, 11): {
        "a docstring behind super": (
            "class B:\n 'a'\nclass C(B):\n def n(self): return super().__doc__\ndef f(x): return C().n()",
            "class B:\n 'b'\nclass C(B):\n def n(self): return super().__doc__\ndef f(x): return C().n()",
        ),
        "a global in a text that a method behind super reads": (
            "A = 1\nclass B:\n def query(self, t): return eval(t[1:])\nclass C(B):\n def n(self): return super().query('@A + 1')\ndef f(x): return C().n()",
            "A = 2\nclass B:\n def query(self, t): return eval(t[1:])\nclass C(B):\n def n(self): return super().query('@A + 1')\ndef f(x): return C().n()",
        ),
        "the order of a class's annotations": (
            "class C:\n a: int\n b: int\ndef f(x): return list(C.__annotations__)",
            "class C:\n b: int\n a: int\ndef f(x): return list(C.__annotations__)",
        ),
        "an annotation of a dataclass": (
            "@dataclasses.dataclass\nclass C:\n a: int\ndef f(x): return C(x)",
            "@dataclasses.dataclass\nclass C:\n a: str\ndef f(x): return C(x)",
        ),
        "an annotation of a typed dict": (
            "class C(typing.TypedDict):\n a: int\ndef f(x: C): return x",
            "class C(typing.TypedDict):\n a: str\ndef f(x: C): return x",
        ),
    },
    (3, 12): {
        "what a type alias stands for": ("type A = int\ndef f(x): return A", "type A = str\ndef f(x): return A"),
        "an alias of an alias": (
            "type B = int\ntype A = list[B]\ndef f(x: A): return x",
            "type B = str\ntype A = list[B]\ndef f(x: A): return x",
        ),
        "a bound in a generic alias": (
            "type A[T: int] = list[T]\ndef f(x: A[int]): return x",
            "type A[T: str] = list[T]\ndef f(x: A[int]): return x",
        ),
        "an alias of itself": (
            "type A = int | list[A]\ndef f(x: A): return x",
            "type A = str | list[A]\ndef f(x: A): return x",
        ),
        "an alias of a model's field": (
            "type A = int\nclass M(BaseModel):\n a: A\ndef f(x): return M(a=x)",
            "type A = float\nclass M(BaseModel):\n a: A\ndef f(x): return M(a=x)",
        ),
        "an alias of what isn't defined": ("type A = Nope\ndef f(x): return A", "type A = None_\ndef f(x): return A"),
        "constraints of a type parameter": (
            "def f[T: (int, str)](x: T): return x",
            "def f[T: (int, float)](x: T): return x",
        ),
        "the bound of a generic model": (
            "class C[T: int](BaseModel):\n a: T\ndef f(x): return C(a=x)",
            "class C[T: str](BaseModel):\n a: T\ndef f(x): return C(a=x)",
        ),
    },
    (3, 14): {
        "what makes annotations": (
            "def g() -> int: ...\ndef f(x): return g.__annotate__(1)",
            "def g() -> str: ...\ndef f(x): return g.__annotate__(1)",
        ),
        "an annotation whose name isn't defined": ("def f(x: Nope): return x", "def f(x: None_): return x"),
        "an annotation of a class, beside one that isn't defined": (
            "class C:\n a: Nope\n b: int\ndef f(x): return C",
            "class C:\n a: Nope\n b: str\ndef f(x): return C",
        ),
        "an annotation that can't be evaluated": (
            "def g(x: int | 'K'): return x\ndef f(x): return g.__annotations__",
            "def g(x: int | 'L'): return x\ndef f(x): return g.__annotations__",
        ),
        "a text of a t-string": ("def f(x): return t'a{x}'", "def f(x): return t'b{x}'"),
        "a conversion of a t-string": ("def f(x): return t'{x}'", "def f(x): return t'{x!r}'"),
        "blanks in a t-string, which it keeps": ("def f(x): return t'{x}'", "def f(x): return t'{x }'"),
        "a global t-string": ("A = t'a{1}'\ndef f(x): return A", "A = t'a{2}'\ndef f(x): return A"),
    },
}
_KEPT: dict[tuple[int, int], dict[str, tuple[str, str]]] = {
    (3, 11): {
        "annotations that were asked for": (
            "@dataclasses.dataclass\nclass D:\n a: int\nclass C:\n a: int\ndef f(x): return C, D(x)",
            "@dataclasses.dataclass\nclass D:\n a: int\nclass C:\n a: int\ndef f(x): return C, D(x)\nC.__annotations__, D.__annotations__, f.__annotations__",
        ),
        "a comment beside an annotation under a condition": (
            "class C:\n if True:\n  a: int\ndef f(x): return C",
            "class C:\n if True:\n  a: int  # a\ndef f(x): return C",
        ),
    },
    (3, 12): {
        "comments beside type parameters": (
            "def f[T: int, *Ts, **P](x: T, y: tuple[*Ts], z: typing.Callable[P, int]): return x",
            "def f[  # T\n T: int, *Ts, **P](x: T, y: tuple[*Ts], z: typing.Callable[P, int]):\n 'Doc.'\n return x",
        ),
        "a comment beside an alias of itself": ("type A = int | list[A]\ndef f(x: A): return x", "# A\ntype A = int | list[A]\ndef f(x: A): return x"),
        "an alias that was asked for": ("type A = int | str\ndef f(x: A): return x", "type A = int | str\ndef f(x: A): return x\nA.__value__"),
        "a comment beside a bound that isn't defined": ("def f[T: Nope](x: T): return x", "# T\ndef f[T: Nope](x: T): return x"),
    },
    (3, 14): {
        "comments beside annotations that aren't defined": (
            "class C:\n a: list[Nope]\ndef f(x: Nope, y: list[Nope], z: 1 / 0): return C",
            "# C\nclass C:\n a: list[Nope]  # a\ndef f(x: Nope, y: list[Nope], z: 1 / 0):\n # f\n return C",
        ),
        "comments and quotes around a t-string": ("def f(x): return t'a{x}'", 'def f( x ):\n # t\n return t"a{x}"'),
        "a comment beside a global t-string": ("A = t'a{1}'\ndef f(x): return A", "# A\nA = t'a{1}'\ndef f(x): return A"),
    },
}  # fmt: skip


def _here(rows: dict[tuple[int, int], dict[str, Row]]) -> dict[str, Row]:
    return {name: row for since, some in rows.items() if sys.version_info >= since for name, row in some.items()}


RECOMPUTED_HERE: dict[str, tuple[str, str]] = {
    **_here(_RECOMPUTED),
    **{f"a helper of {name}": (_H[0] + text, _H[1] + text) for name, text in _here(_REACHES_H).items()},
    **{f"a method of the class of {name}": (_K[0] + text, _K[1] + text) for name, text in _here(_REACHES_K).items()},
}
KEPT_HERE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **{name: ((before,), (after,)) for name, (before, after) in _here(_KEPT).items()},
    **{
        f"a comment in a helper of {name}": ((_H[0] + text,), (_H_KEPT + text,))
        for name, text in _here(_REACHES_H).items()
    },
}
