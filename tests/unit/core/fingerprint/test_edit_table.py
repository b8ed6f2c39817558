"""What an edit of a notebook does to a fingerprint: what has to change it, and what must not."""

# ruff: noqa: E501 - a cell is a line

from __future__ import annotations

import itertools
import linecache
import sys
import types
from collections.abc import Iterator

import pytest

from tensorlake_nb.core.fingerprint.fingerprint import FunctionPrint, fingerprint
from tests.unit.core.fingerprint.edit_rows import KEPT_HERE, RECOMPUTED_HERE

_numbers = itertools.count()
PRELUDE = "from pydantic import *\nimport functools, math, dataclasses, enum, typing, collections\nimport numpy as np\n"


class Notebook:
    """Cells that run as ipykernel runs them: each under a file name of its own that only ``linecache`` knows."""

    def __init__(self) -> None:
        self.module = types.ModuleType("__main__")
        self.run(PRELUDE)

    def run(self, cell: str) -> Notebook:
        filename = f"/tmp/ipykernel_{next(_numbers)}/{next(_numbers)}.py"
        linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
        exec(compile(cell, filename, "exec", dont_inherit=True), vars(self.module))
        return self

    def print(self, name: str = "f") -> FunctionPrint:
        return fingerprint(vars(self.module)[name])


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


def print_of(*cells: str) -> FunctionPrint:
    notebook = Notebook()
    sys.modules["__main__"] = notebook.module
    for cell in cells:
        notebook.run(cell)
    return notebook.print()


RECOMPUTED: dict[str, tuple[str, str]] = {
    "own body": ("def f(x): return x + 1", "def f(x): return x + 2"),
    "an int that becomes a float": ("def f(x): return x + 1", "def f(x): return x + 1.0"),
    "zero that becomes minus zero": ("def f(x): return 0.0", "def f(x): return -0.0"),
    "True that becomes 1": ("def f(x): return True", "def f(x): return 1"),
    "a helper": ("def g(x): return x\ndef f(x): return g(x)", "def g(x): return -x\ndef f(x): return g(x)"),
    "a helper of a helper": (
        "def h(x): return x\ndef g(x): return h(x)\ndef f(x): return g(x)",
        "def h(x): return -x\ndef g(x): return h(x)\ndef f(x): return g(x)",
    ),
    "one of two functions that call each other": (
        "def g(x): return x and f(x - 1)\ndef f(x): return x and g(x - 1)",
        "def g(x): return x and f(x - 2)\ndef f(x): return x and g(x - 1)",
    ),
    "a global constant": ("A = 1\ndef f(x): return A", "A = 2\ndef f(x): return A"),
    "a global declared so": ("A = 1\ndef f(x):\n global A\n return A", "A = 2\ndef f(x):\n global A\n return A"),
    "a global container": ("A = {'a': [1]}\ndef f(x): return A", "A = {'a': [2]}\ndef f(x): return A"),
    "the order of a dict": ("A = {'a': 1, 'b': 2}\ndef f(x): return [*A]", "A = {'b': 2, 'a': 1}\ndef f(x): return [*A]"),
    "a global changed in place": ("A = [1]\ndef f(x): return A", "A = [1]\ndef f(x): return A\nA.append(2)"),
    "a global array": ("A = np.zeros(3)\ndef f(x): return A", "A = np.zeros(3); A[1] = 1\ndef f(x): return A"),
    "a global that hides a builtin": ("def f(x): return len(x)", "def f(x): return len(x)\ndef len(x): return 3"),
    "a global of a nested function": (
        "A = 1\ndef f(x):\n def g(): return A\n return g()",
        "A = 2\ndef f(x):\n def g(): return A\n return g()",
    ),
    "a global of a lambda": ("A = 1\ndef f(x): return (lambda: A)()", "A = 2\ndef f(x): return (lambda: A)()"),
    "a global of a comprehension": (
        "A = 1\ndef f(x): return [A for _ in x]",
        "A = 2\ndef f(x): return [A for _ in x]",
    ),
    "a global of a generator in a set of a dict": (
        "A = 1\ndef f(x): return {k: {A + i for i in range(k)} for k in x}",
        "A = 2\ndef f(x): return {k: {A + i for i in range(k)} for k in x}",
    ),
    "a global of a nested class": (
        "A = 1\ndef f(x):\n class C:\n  a = A\n return C.a",
        "A = 2\ndef f(x):\n class C:\n  a = A\n return C.a",
    ),
    "a global of an f-string": ("A = 1\ndef f(x): return f'{A:>{x}}'", "A = 2\ndef f(x): return f'{A:>{x}}'"),
    "a global of a pattern": (
        "class K:\n A = 1\ndef f(x):\n match x:\n  case K.A: return 1",
        "class K:\n A = 2\ndef f(x):\n match x:\n  case K.A: return 1",
    ),
    "a global of a decorator inside": (
        "def d(g): return g\ndef f(x):\n @d\n def h(): return 1\n return h()",
        "def d(g): return lambda: 2\ndef f(x):\n @d\n def h(): return 1\n return h()",
    ),
    "a closure value": (
        "def make(n):\n def f(x): return x * n\n return f\nf = make(2)",
        "def make(n):\n def f(x): return x * n\n return f\nf = make(3)",
    ),
    "a closure's function": (
        "def make(g): return lambda x: g(x)\nf = make(lambda x: x)",
        "def make(g): return lambda x: g(x)\nf = make(lambda x: -x)",
    ),
    "a default": ("def f(x, n=1): return n", "def f(x, n=2): return n"),
    "a default that was computed": ("A = 1\ndef f(x, n=A): return n", "A = 2\ndef f(x, n=A): return n"),
    "a keyword default": ("def f(x, *, n=1): return n", "def f(x, *, n=2): return n"),
    "a keyword default that was computed": (
        "A = 1\ndef f(x, *, n=A): return n",
        "A = 2\ndef f(x, *, n=A): return n",
    ),
    "a default that is a function": (
        "def g(): return 1\ndef f(x, n=g): return n()",
        "def g(): return 2\ndef f(x, n=g): return n()",
    ),
    "a default of a helper": (
        "A = 1\ndef g(n=A): return n\ndef f(x): return g()",
        "A = 2\ndef g(n=A): return n\ndef f(x): return g()",
    ),
    "a default of a nested function": (
        "A = 1\ndef f(x):\n def g(n=A): return n\n return g()",
        "A = 2\ndef f(x):\n def g(n=A): return n\n return g()",
    ),
    "a decorator": (
        "def d(g):\n @functools.wraps(g)\n def w(x): return g(x) + 1\n return w\n@d\ndef f(x): return x",
        "def d(g):\n @functools.wraps(g)\n def w(x): return g(x) + 2\n return w\n@d\ndef f(x): return x",
    ),
    "a decorator that is taken away": (
        "def d(g):\n @functools.wraps(g)\n def w(x): return g(x) + 1\n return w\n@d\ndef f(x): return x",
        "def f(x): return x",
    ),
    "an argument of a decorator": (
        "def d(n):\n def dd(g):\n  @functools.wraps(g)\n  def w(x): return g(x) + n\n  return w\n return dd\n@d(1)\ndef f(x): return x",
        "def d(n):\n def dd(g):\n  @functools.wraps(g)\n  def w(x): return g(x) + n\n  return w\n return dd\n@d(2)\ndef f(x): return x",
    ),
    "the order of decorators": (
        "def a(g): return functools.wraps(g)(lambda x: g(x) + 1)\ndef b(g): return functools.wraps(g)(lambda x: g(x) * 2)\n@a\n@b\ndef f(x): return x",
        "def a(g): return functools.wraps(g)(lambda x: g(x) + 1)\ndef b(g): return functools.wraps(g)(lambda x: g(x) * 2)\n@b\n@a\ndef f(x): return x",
    ),
    "the function below a decorator": (
        "def d(g):\n @functools.wraps(g)\n def w(x): return g(x)\n return w\n@d\ndef f(x): return x",
        "def d(g):\n @functools.wraps(g)\n def w(x): return g(x)\n return w\n@d\ndef f(x): return -x",
    ),
    "a decorated helper": (
        "def d(g):\n def w(x): return g(x) + 1\n return w\n@d\ndef g(x): return x\ndef f(x): return g(x)",
        "def d(g):\n def w(x): return g(x) + 2\n return w\n@d\ndef g(x): return x\ndef f(x): return g(x)",
    ),
    "a cached helper": (
        "@functools.lru_cache\ndef g(x): return x\ndef f(x): return g(x)",
        "@functools.lru_cache\ndef g(x): return -x\ndef f(x): return g(x)",
    ),
    "an implementation of a dispatched helper": (
        "@functools.singledispatch\ndef g(x): return x\n@g.register\ndef _(x: int): return 1\ndef f(x): return g(x)",
        "@functools.singledispatch\ndef g(x): return x\n@g.register\ndef _(x: int): return 2\ndef f(x): return g(x)",
    ),
    "a method": (
        "class C:\n def m(self): return 1\ndef f(x): return C().m()",
        "class C:\n def m(self): return 2\ndef f(x): return C().m()",
    ),
    "a method that isn't named": (
        "class C:\n def m(self): return 1\n def __len__(self): return 1\ndef f(x): return len(C())",
        "class C:\n def m(self): return 1\n def __len__(self): return 2\ndef f(x): return len(C())",
    ),
    "a method of a base class": (
        "class B:\n def m(self): return 1\nclass C(B): pass\ndef f(x): return C().m()",
        "class B:\n def m(self): return 2\nclass C(B): pass\ndef f(x): return C().m()",
    ),
    "a method behind super": (
        "class B:\n def m(self): return 1\nclass C(B):\n def m(self): return super().m()\ndef f(x): return C().m()",
        "class B:\n def m(self): return 2\nclass C(B):\n def m(self): return super().m()\ndef f(x): return C().m()",
    ),
    "the order of bases": (
        "class A:\n m = 1\nclass B:\n m = 2\nclass C(A, B): pass\ndef f(x): return C.m",
        "class A:\n m = 1\nclass B:\n m = 2\nclass C(B, A): pass\ndef f(x): return C.m",
    ),
    "a class attribute": ("class C:\n a = 1\ndef f(x): return C.a", "class C:\n a = 2\ndef f(x): return C.a"),
    "a class attribute set later": ("class C:\n a = 1\ndef f(x): return C.a", "class C:\n a = 1\nC.a = 2\ndef f(x): return C.a"),
    "a method replaced later": (
        "class C:\n def m(self): return 1\ndef f(x): return C().m()",
        "class C:\n def m(self): return 1\nC.m = lambda self: 2\ndef f(x): return C().m()",
    ),
    "a property": (
        "class C:\n @property\n def p(self): return 1\ndef f(x): return C().p",
        "class C:\n @property\n def p(self): return 2\ndef f(x): return C().p",
    ),
    "a property's setter": (
        "class C:\n @property\n def p(self): return 1\n @p.setter\n def p(self, v): self.v = v\ndef f(x): return C()",
        "class C:\n @property\n def p(self): return 1\n @p.setter\n def p(self, v): self.v = -v\ndef f(x): return C()",
    ),
    "a cached property": (
        "class C:\n @functools.cached_property\n def p(self): return 1\ndef f(x): return C().p",
        "class C:\n @functools.cached_property\n def p(self): return 2\ndef f(x): return C().p",
    ),
    "a static method": (
        "class C:\n @staticmethod\n def m(): return 1\ndef f(x): return C.m()",
        "class C:\n @staticmethod\n def m(): return 2\ndef f(x): return C.m()",
    ),
    "a class method": (
        "class C:\n @classmethod\n def m(cls): return 1\ndef f(x): return C.m()",
        "class C:\n @classmethod\n def m(cls): return 2\ndef f(x): return C.m()",
    ),
    "a method that becomes static": (
        "class C:\n def m(a, b=1): return a\ndef f(x): return C().m(x)",
        "class C:\n @staticmethod\n def m(a, b=1): return a\ndef f(x): return C().m(x)",
    ),
    "a metaclass": (
        "class M(type):\n def __len__(cls): return 1\nclass C(metaclass=M): pass\ndef f(x): return len(C)",
        "class M(type):\n def __len__(cls): return 2\nclass C(metaclass=M): pass\ndef f(x): return len(C)",
    ),
    "a nested class": (
        "class C:\n class D:\n  def m(self): return 1\ndef f(x): return C.D().m()",
        "class C:\n class D:\n  def m(self): return 2\ndef f(x): return C.D().m()",
    ),
    "a descriptor's class": (
        "class D:\n def __get__(self, o, t): return 1\nclass C:\n d = D()\ndef f(x): return C.d",
        "class D:\n def __get__(self, o, t): return 2\nclass C:\n d = D()\ndef f(x): return C.d",
    ),
    "a method of the class of a global": (
        "class C:\n def m(self): return 1\nc = C()\ndef f(x): return c.m()",
        "class C:\n def m(self): return 2\nc = C()\ndef f(x): return c.m()",
    ),
    "an attribute of a global object": (
        "class C:\n def __init__(self, n): self.n = n\nc = C(1)\ndef f(x): return c.n",
        "class C:\n def __init__(self, n): self.n = n\nc = C(2)\ndef f(x): return c.n",
    ),
    "a global instance that is called": (
        "class C:\n def __call__(self, x): return 1\nc = C()\ndef f(x): return c(x)",
        "class C:\n def __call__(self, x): return 2\nc = C()\ndef f(x): return c(x)",
    ),
    "a bound method as a global": (
        "class C:\n def __init__(self, n): self.n = n\n def m(self): return self.n\nm = C(1).m\ndef f(x): return m()",
        "class C:\n def __init__(self, n): self.n = n\n def m(self): return self.n\nm = C(2).m\ndef f(x): return m()",
    ),
    "a slot of a global object": (
        "class C:\n __slots__ = ('n',)\n def __init__(self, n): self.n = n\nc = C(1)\ndef f(x): return c.n",
        "class C:\n __slots__ = ('n',)\n def __init__(self, n): self.n = n\nc = C(2)\ndef f(x): return c.n",
    ),
    "an object beside a lock": (
        "import threading\nclass C:\n def __init__(self, n): self.n, self.l = n, threading.Lock()\nc = C(1)\ndef f(x): return c.n",
        "import threading\nclass C:\n def __init__(self, n): self.n, self.l = n, threading.Lock()\nc = C(2)\ndef f(x): return c.n",
    ),
    "a lambda in a dict": (
        "ops = {'a': lambda x: x + 1}\ndef f(x): return ops['a'](x)",
        "ops = {'a': lambda x: x + 2}\ndef f(x): return ops['a'](x)",
    ),
    "the second of two lambdas on a line": (
        "ops = [lambda x: x + 1, lambda x: x * 2]\ndef f(x): return ops[1](x)",
        "ops = [lambda x: x + 1, lambda x: x * 3]\ndef f(x): return ops[1](x)",
    ),
    "two lambdas swapped": (
        "a, b = lambda x: x + 1, lambda x: x * 2\ndef f(x): return a(x)",
        "b, a = lambda x: x + 1, lambda x: x * 2\ndef f(x): return a(x)",
    ),
    "a partial": (
        "def g(x, n): return x * n\np = functools.partial(g, n=2)\ndef f(x): return p(x)",
        "def g(x, n): return x * n\np = functools.partial(g, n=3)\ndef f(x): return p(x)",
    ),
    "the function of a partial": (
        "def g(x, n): return x * n\np = functools.partial(g, n=2)\ndef f(x): return p(x)",
        "def g(x, n): return x + n\np = functools.partial(g, n=2)\ndef f(x): return p(x)",
    ),
    "a function in a tuple in a dataclass": (
        "@dataclasses.dataclass\nclass P:\n steps: tuple\np = P((lambda x: 1,))\ndef f(x): return p.steps[0](x)",
        "@dataclasses.dataclass\nclass P:\n steps: tuple\np = P((lambda x: 2,))\ndef f(x): return p.steps[0](x)",
    ),
    "a vectorized function": (
        "v = np.vectorize(lambda x: x + 1)\ndef f(x): return v(x)",
        "v = np.vectorize(lambda x: x + 2)\ndef f(x): return v(x)",
    ),
    "a numpy function": ("u = np.sin\ndef f(x): return u(x)", "u = np.cos\ndef f(x): return u(x)"),
    "a builtin": ("u = max\ndef f(x): return u(x)", "u = min\ndef f(x): return u(x)"),
    "a method of a builtin value": ("u = 'ab'.count\ndef f(x): return u(x)", "u = 'abb'.count\ndef f(x): return u(x)"),
    "a model's field": (
        "class M(BaseModel):\n a: int\ndef f(x): return M(**x)",
        "class M(BaseModel):\n a: float\ndef f(x): return M(**x)",
    ),
    "a model's default": (
        "class M(BaseModel):\n a: int = 1\ndef f(x): return M(**x)",
        "class M(BaseModel):\n a: int = 2\ndef f(x): return M(**x)",
    ),
    "a model's default factory": (
        "class M(BaseModel):\n a: int = Field(default_factory=lambda: 1)\ndef f(x): return M(**x)",
        "class M(BaseModel):\n a: int = Field(default_factory=lambda: 2)\ndef f(x): return M(**x)",
    ),
    "a model's constraint": (
        "class M(BaseModel):\n a: int = Field(1, ge=0)\ndef f(x): return M(**x)",
        "class M(BaseModel):\n a: int = Field(1, ge=1)\ndef f(x): return M(**x)",
    ),
    "a model's validator": (
        "class M(BaseModel):\n a: int\n @field_validator('a')\n @classmethod\n def c(cls, v): return v\ndef f(x): return M(**x)",
        "class M(BaseModel):\n a: int\n @field_validator('a')\n @classmethod\n def c(cls, v): return -v\ndef f(x): return M(**x)",
    ),
    "when a model's validator runs": (
        "class M(BaseModel):\n a: int\n @field_validator('a')\n @classmethod\n def c(cls, v): return v\ndef f(x): return M(**x)",
        "class M(BaseModel):\n a: int\n @field_validator('a', mode='before')\n @classmethod\n def c(cls, v): return v\ndef f(x): return M(**x)",
    ),
    "what a model's validator applies to": (
        "class M(BaseModel):\n a: int\n b: int\n @field_validator('a')\n @classmethod\n def c(cls, v): return v\ndef f(x): return M(**x)",
        "class M(BaseModel):\n a: int\n b: int\n @field_validator('b')\n @classmethod\n def c(cls, v): return v\ndef f(x): return M(**x)",
    ),
    "a model's annotated validator": (
        "class M(BaseModel):\n a: typing.Annotated[int, AfterValidator(lambda v: v)]\ndef f(x): return M(**x)",
        "class M(BaseModel):\n a: typing.Annotated[int, AfterValidator(lambda v: -v)]\ndef f(x): return M(**x)",
    ),
    "a model's computed field": (
        "class M(BaseModel):\n @computed_field\n @property\n def a(self) -> int: return 1\ndef f(x): return M().model_dump()",
        "class M(BaseModel):\n @computed_field\n @property\n def a(self) -> int: return 2\ndef f(x): return M().model_dump()",
    ),
    "a description of a model's computed field": (
        "class V(BaseModel):\n n: int\n @computed_field(description='a')\n @property\n def d(self) -> int: return 1\ndef f(x): return V(n=x)",
        "class V(BaseModel):\n n: int\n @computed_field(description='b')\n @property\n def d(self) -> int: return 1\ndef f(x): return V(n=x)",
    ),
    "a model's serializer": (
        "class M(BaseModel):\n a: int\n @field_serializer('a')\n def s(self, v): return v\ndef f(x): return M(**x).model_dump()",
        "class M(BaseModel):\n a: int\n @field_serializer('a')\n def s(self, v): return -v\ndef f(x): return M(**x).model_dump()",
    ),
    "a model's config": (
        "class M(BaseModel):\n a: int\ndef f(x): return M(**x)",
        "class M(BaseModel):\n model_config = ConfigDict(strict=True)\n a: int\ndef f(x): return M(**x)",
    ),
    "a model's private default": (
        "class M(BaseModel):\n _p: int = 1\ndef f(x): return M()._p",
        "class M(BaseModel):\n _p: int = 2\ndef f(x): return M()._p",
    ),
    "a model inside a model": (
        "class N(BaseModel):\n b: int = 1\nclass M(BaseModel):\n a: N = N()\ndef f(x): return M(**x)",
        "class N(BaseModel):\n b: str = 1\nclass M(BaseModel):\n a: N = N()\ndef f(x): return M(**x)",
    ),
    "a model inside a list of a model": (
        "class N(BaseModel):\n b: int\nclass M(BaseModel):\n a: list[N]\ndef f(x): return M(**x)",
        "class N(BaseModel):\n b: str\nclass M(BaseModel):\n a: list[N]\ndef f(x): return M(**x)",
    ),
    "the model of a parameter": (
        "class M(BaseModel):\n a: int\ndef f(x: M): return x",
        "class M(BaseModel):\n a: str\ndef f(x: M): return x",
    ),
    "the model of a parameter in a list": (
        "class M(BaseModel):\n a: int\ndef f(x: list[M] | None): return x",
        "class M(BaseModel):\n a: str\ndef f(x: list[M] | None): return x",
    ),
    "the model of a parameter as a string": (
        "from __future__ import annotations\nclass M(BaseModel):\n a: int\ndef f(x: list[M]): return x",
        "from __future__ import annotations\nclass M(BaseModel):\n a: str\ndef f(x: list[M]): return x",
    ),
    "a parameter's annotation": ("def f(x: int): return x", "def f(x: list): return x"),
    "a dataclass field's default": (
        "@dataclasses.dataclass\nclass D:\n a: int = 1\ndef f(x): return D().a",
        "@dataclasses.dataclass\nclass D:\n a: int = 2\ndef f(x): return D().a",
    ),
    "the order of a dataclass' fields": (
        "@dataclasses.dataclass\nclass D:\n a: int\n b: int\ndef f(x): return D(1, 2).a",
        "@dataclasses.dataclass\nclass D:\n b: int\n a: int\ndef f(x): return D(1, 2).a",
    ),
    "how a dataclass compares": (
        "@dataclasses.dataclass\nclass D:\n a: int\ndef f(x): return D(1) == D(1)",
        "@dataclasses.dataclass(eq=False)\nclass D:\n a: int\ndef f(x): return D(1) == D(1)",
    ),
    "a dataclass' default factory": (
        "@dataclasses.dataclass\nclass D:\n a: list = dataclasses.field(default_factory=lambda: [1])\ndef f(x): return D()",
        "@dataclasses.dataclass\nclass D:\n a: list = dataclasses.field(default_factory=lambda: [2])\ndef f(x): return D()",
    ),
    "a dataclass' __post_init__": (
        "@dataclasses.dataclass\nclass D:\n a: int\n def __post_init__(self): self.b = 1\ndef f(x): return D(1).b",
        "@dataclasses.dataclass\nclass D:\n a: int\n def __post_init__(self): self.b = 2\ndef f(x): return D(1).b",
    ),
    "a member of an enum": (
        "class E(enum.Enum):\n A = 1\n B = 2\ndef f(x): return E.A.value",
        "class E(enum.Enum):\n A = 2\n B = 1\ndef f(x): return E.A.value",
    ),
    "a method of an enum": (
        "class E(enum.Enum):\n A = 1\n def m(self): return 1\ndef f(x): return E.A.m()",
        "class E(enum.Enum):\n A = 1\n def m(self): return 2\ndef f(x): return E.A.m()",
    ),
    "a field of a named tuple": (
        "class P(typing.NamedTuple):\n a: int = 1\ndef f(x): return P().a",
        "class P(typing.NamedTuple):\n a: int = 2\ndef f(x): return P().a",
    ),
    "the names of a named tuple": (
        "P = collections.namedtuple('P', 'a b')\ndef f(x): return P(1, 2).a",
        "P = collections.namedtuple('P', 'b a')\ndef f(x): return P(1, 2).a",
    ),
    "an attribute of a function": (
        "def g(): return 1\ng.n = 1\ndef f(x): return g.n",
        "def g(): return 1\ng.n = 2\ndef f(x): return g.n",
    ),
    "an attribute of the function itself": ("def f(x): return f.n\nf.n = 1", "def f(x): return f.n\nf.n = 2"),
    "a name that was missing": ("def f(x): return later()", "def f(x): return later()\ndef later(): return 1"),
    "what exec'd code does": ("exec('def g(): return 1')\ndef f(x): return g()", "exec('def g(): return 2')\ndef f(x): return g()"),
    "a global read through globals()": (
        "A = 1\ndef f(x): return globals()['A']",
        "A = 2\ndef f(x): return globals()['A']",
    ),
    "a docstring that is read": ("def f(x):\n 'a'\n return f.__doc__", "def f(x):\n 'b'\n return f.__doc__"),
    "a default that eq can't tell": ("def f(x, n=1): return n", "def f(x, n=True): return n"),
    "a function in a set": (
        "def g(x): return 1\nS = {g}\ndef f(x): return [h(x) for h in S]",
        "def g(x): return 2\nS = {g}\ndef f(x): return [h(x) for h in S]",
    ),
    "async": ("async def f(x): return 1", "def f(x): return 1"),
    "a private helper method": (
        "class C:\n def __p(self): return 1\n def m(self): return self.__p()\ndef f(x): return C().m()",
        "class C:\n def __p(self): return 2\n def m(self): return self.__p()\ndef f(x): return C().m()",
    ),
    "the text of an eval": ("def f(x): return eval('1')", "def f(x): return eval('2')"),
    "a string that was joined": ("def f(x): return 'a' 'b'", "def f(x): return 'a' 'c'"),
    "a default dict's factory": (
        "D = collections.defaultdict(lambda: 1)\ndef f(x): return D[x]",
        "D = collections.defaultdict(lambda: 2)\ndef f(x): return D[x]",
    ),
    "a pattern": ("import re\nR = re.compile('a')\ndef f(x): return R", "import re\nR = re.compile('a', re.I)\ndef f(x): return R"),
    "a global named in a query": (
        "A = 1\ndef f(x): return x.query('a > @A')",
        "A = 2\ndef f(x): return x.query('a > @A')",
    ),
    "a table named in SQL": (
        "import sqlite3 as duckdb\nt = [1]\ndef f(x): return duckdb.sql('select * from t')",
        "import sqlite3 as duckdb\nt = [2]\ndef f(x): return duckdb.sql('select * from t')",
    ),
    "a function below validate_call": (
        "@validate_call\ndef g(x: int): return 1\ndef f(x): return g(x)",
        "@validate_call\ndef g(x: int): return 2\ndef f(x): return g(x)",
    ),
    "the function itself below validate_call": (
        "@validate_call\ndef f(x: int): return 1",
        "@validate_call\ndef f(x: int): return 2",
    ),
    "what a type adapter validates": (
        "class M(BaseModel):\n a: int\nT = TypeAdapter(list[M])\ndef f(x): return T.validate_python(x)",
        "class M(BaseModel):\n a: str\nT = TypeAdapter(list[M])\ndef f(x): return T.validate_python(x)",
    ),
    "a model that a helper below validate_call takes": (
        "class M(BaseModel):\n a: int = 1\n@validate_call\ndef g(m: M): return m\ndef f(x): return g({})",
        "class M(BaseModel):\n a: int = 2\n@validate_call\ndef g(m: M): return m\ndef f(x): return g({})",
    ),
    "what a helper below validate_call returns": (
        "@validate_call(validate_return=True)\ndef g(x) -> int: return x\ndef f(x): return g('3')",
        "@validate_call(validate_return=True)\ndef g(x) -> str: return x\ndef f(x): return g('3')",
    ),
    "what the function itself returns below validate_call": (
        "@validate_call(validate_return=True)\ndef f(x) -> int: return x",
        "@validate_call(validate_return=True)\ndef f(x) -> str: return x",
    ),
    "an alias that a decorator of one's own reads": (
        "def to(g):\n def call(x): return g.__annotations__['x'](x)\n return call\nA = int\n@to\ndef g(x: A): return x\ndef f(x): return g(x)",
        "def to(g):\n def call(x): return g.__annotations__['x'](x)\n return call\nA = float\n@to\ndef g(x: A): return x\ndef f(x): return g(x)",
    ),
    "an annotation that is read under another name": (
        "from typing import get_type_hints as hints\ndef g() -> int: pass\ndef f(x): return hints(g)",
        "from typing import get_type_hints as hints\ndef g() -> str: pass\ndef f(x): return hints(g)",
    ),
    "an annotation that is read by what is imported in the function": (
        "def g() -> int: pass\ndef f(x):\n from inspect import signature as s\n return s(g)",
        "def g() -> str: pass\ndef f(x):\n from inspect import signature as s\n return s(g)",
    ),
    "the configuration of a pydantic dataclass": (
        "import pydantic.dataclasses as d\n@d.dataclass(config=ConfigDict(str_to_upper=True))\nclass A:\n a: str\ndef f(x): return A(x)",
        "import pydantic.dataclasses as d\n@d.dataclass(config=ConfigDict(str_to_upper=False))\nclass A:\n a: str\ndef f(x): return A(x)",
    ),
    "the order in which a class is matched": (
        "class C:\n __match_args__ = ('a', 'b')\ndef f(x):\n match x:\n  case C(y): return y",
        "class C:\n __match_args__ = ('b', 'a')\ndef f(x):\n match x:\n  case C(y): return y",
    ),
    "the order in which a dataclass is matched": (
        "@dataclasses.dataclass\nclass C:\n a: int\n b: int\n __match_args__ = ('a',)\ndef f(x):\n match x:\n  case C(y): return y",
        "@dataclasses.dataclass\nclass C:\n a: int\n b: int\n __match_args__ = ('b',)\ndef f(x):\n match x:\n  case C(y): return y",
    ),
    "what a module answers for names that it hasn't": (
        "import types\nm = types.ModuleType('m')\nm.__getattr__ = lambda name: 1\ndef f(x): return m.a",
        "import types\nm = types.ModuleType('m')\nm.__getattr__ = lambda name: 2\ndef f(x): return m.a",
    ),
    "an object that answers no question": (
        "class C:\n def __getattr__(self, name): raise RuntimeError(name)\nc = C()\ndef f(x): return c(x)",
        "class C:\n def __getattr__(self, name): raise OSError(name)\nc = C()\ndef f(x): return c(x)",
    ),
    "a class that is registered with an abstract one": (
        "import abc\nclass A(abc.ABC): pass\nclass B: pass\ndef f(x): return isinstance(B(), A)",
        "import abc\nclass A(abc.ABC): pass\nclass B: pass\nA.register(B)\ndef f(x): return isinstance(B(), A)",
    ),
    "a decorator that is a class": (
        "class D:\n def __init__(self, g): self.g = g\n def __call__(self, x): return self.g(x)\n@D\ndef f(x): return x",
        "class D:\n def __init__(self, g): self.g = g\n def __call__(self, x): return -self.g(x)\n@D\ndef f(x): return x",
    ),
    "a function below a decorator that is a class": (
        "class D:\n def __init__(self, g): self.g = g\n def __call__(self, x): return self.g(x)\n@D\ndef g(x): return x\ndef f(x): return g(x)",
        "class D:\n def __init__(self, g): self.g = g\n def __call__(self, x): return self.g(x)\n@D\ndef g(x): return -x\ndef f(x): return g(x)",
    ),
    "a partial method": (
        "class C:\n m = functools.partialmethod(lambda self, k: k, 3)\ndef f(x): return C().m()",
        "class C:\n m = functools.partialmethod(lambda self, k: k, 4)\ndef f(x): return C().m()",
    ),
    "a dispatched method": (
        "class C:\n @functools.singledispatchmethod\n def m(self, x): return 1\n @m.register\n def _(self, x: int): return 2\ndef f(x): return C().m(x)",
        "class C:\n @functools.singledispatchmethod\n def m(self, x): return 1\n @m.register\n def _(self, x: int): return 3\ndef f(x): return C().m(x)",
    ),
    "a context manager": (
        "import contextlib\n@contextlib.contextmanager\ndef g(): yield 1\ndef f(x):\n with g() as y: return y",
        "import contextlib\n@contextlib.contextmanager\ndef g(): yield 2\ndef f(x):\n with g() as y: return y",
    ),
    "a root model": (
        "class M(RootModel[list[int]]): pass\ndef f(x): return M(x)",
        "class M(RootModel[list[str]]): pass\ndef f(x): return M(x)",
    ),
    "the parameter of a generic model": (
        "T = typing.TypeVar('T')\nclass G(BaseModel, typing.Generic[T]):\n x: T\nM = G[int]\ndef f(x): return M(x=x)",
        "T = typing.TypeVar('T')\nclass G(BaseModel, typing.Generic[T]):\n x: T\nM = G[str]\ndef f(x): return M(x=x)",
    ),
    "the base of a generic model's parameter": (
        "T = typing.TypeVar('T')\nclass G(BaseModel, typing.Generic[T]):\n x: T\n def m(self): return 1\ndef f(x): return G[int](x=x).m()",
        "T = typing.TypeVar('T')\nclass G(BaseModel, typing.Generic[T]):\n x: T\n def m(self): return 2\ndef f(x): return G[int](x=x).m()",
    ),
    "a function made by a factory": (
        "def make(a, b):\n def inner(x): return a(x) + b\n return inner\ng = make(lambda x: x, 1)\ndef f(x): return g(x)",
        "def make(a, b):\n def inner(x): return a(x) + b\n return inner\ng = make(lambda x: x, 2)\ndef f(x): return g(x)",
    ),
    "two functions made by one factory, swapped": (
        "def make(n): return lambda x: x * n\nD = {'a': make(1), 'b': make(2)}\ndef f(x): return D['a'](x)",
        "def make(n): return lambda x: x * n\nD = {'a': make(2), 'b': make(1)}\ndef f(x): return D['a'](x)",
    ),
    "a list that holds itself": (
        "A = [1]; A.append(A)\ndef f(x): return A",
        "A = [2]; A.append(A)\ndef f(x): return A",
    ),
    "a tree with parents": (
        "class N:\n def __init__(self, v, p=None): self.v, self.p, self.k = v, p, []; p and p.k.append(self)\nr = N(1); N(2, r)\ndef f(x): return r",
        "class N:\n def __init__(self, v, p=None): self.v, self.p, self.k = v, p, []; p and p.k.append(self)\nr = N(1); N(3, r)\ndef f(x): return r",
    ),
    "the base class that __init_subclass__ registers in": (
        "class B:\n reg = []\n def __init_subclass__(cls): B.reg.append(cls)\nclass C(B):\n def m(self): return 1\ndef f(x): return B.reg[0]().m()",
        "class B:\n reg = []\n def __init_subclass__(cls): B.reg.append(cls)\nclass C(B):\n def m(self): return 2\ndef f(x): return B.reg[0]().m()",
    ),
    "a typed dict of a parameter": (
        "class T(typing.TypedDict):\n a: int\ndef f(x: T): return x",
        "class T(typing.TypedDict):\n a: str\ndef f(x: T): return x",
    ),
    "the start of a loop in a class body": (
        "class C:\n t = {i: i * 2 for i in range(3)}\ndef f(x): return C.t",
        "class C:\n t = {i: i * 2 for i in range(4)}\ndef f(x): return C.t",
    ),
    "an operator's argument": (
        "import operator\ng = operator.itemgetter(0)\ndef f(x): return g(x)",
        "import operator\ng = operator.itemgetter(1)\ndef f(x): return g(x)",
    ),
    "a lambda inside a lambda": (
        "g = lambda x: (lambda y: x + y)\ndef f(x): return g(1)(x)",
        "g = lambda x: (lambda y: x - y)\ndef f(x): return g(1)(x)",
    ),
    "a lambda over several lines": (
        "g = (lambda x: (\n  x\n  + 1\n))\ndef f(x): return g(x)",
        "g = (lambda x: (\n  x\n  + 2\n))\ndef f(x): return g(x)",
    ),
    "a lambda that awaits nothing but yields": (
        "g = [lambda: (yield 1), lambda: (yield 2)]\ndef f(x): return g[0]()",
        "g = [lambda: (yield 3), lambda: (yield 2)]\ndef f(x): return g[0]()",
    ),
    "a lambda of a constant among others": (
        "g = [lambda: 1, lambda: None, lambda *a, k=3: k]\ndef f(x): return g[2]()",
        "g = [lambda: 2, lambda: None, lambda *a, k=3: k]\ndef f(x): return g[2]()",
    ),
    "the seed of a generator": (
        "R = np.random.default_rng(1)\ndef f(x): return R.random()",
        "R = np.random.default_rng(2)\ndef f(x): return R.random()",
    ),
    "what a property calls that is no function": (
        "import operator\nclass P(tuple):\n v = property(operator.itemgetter(0))\ndef f(x): return P(x).v",
        "import operator\nclass P(tuple):\n v = property(operator.itemgetter(1))\ndef f(x): return P(x).v",
    ),
    "a partial below a cache": (
        "def g(a, x): return a * x\nc = functools.lru_cache(functools.partial(g, 2))\ndef f(x): return c(x)",
        "def g(a, x): return a * x\nc = functools.lru_cache(functools.partial(g, 3))\ndef f(x): return c(x)",
    ),
    "an attribute of a cached function": (
        "@functools.lru_cache\ndef g(x): return g.scale * x\ng.scale = 2\ndef f(x): return g(x)",
        "@functools.lru_cache\ndef g(x): return g.scale * x\ng.scale = 3\ndef f(x): return g(x)",
    ),
    "a partial that is dispatched to": (
        "def h(a, x): return a\n@functools.singledispatch\ndef g(x): return 0\ng.register(int, functools.partial(h, 2))\ndef f(x): return g(x)",
        "def h(a, x): return a\n@functools.singledispatch\ndef g(x): return 0\ng.register(int, functools.partial(h, 3))\ndef f(x): return g(x)",
    ),
    "an attribute of a function that dispatches": (
        "@functools.singledispatch\ndef g(x): return g.scale\ng.scale = 2\ndef f(x): return g(x)",
        "@functools.singledispatch\ndef g(x): return g.scale\ng.scale = 3\ndef f(x): return g(x)",
    ),
    "a builtin of another module": ("from math import sqrt\ndef f(x): return sqrt(x)", "from cmath import sqrt\ndef f(x): return sqrt(x)"),
    "a method of a package's own object": ("from random import random as r\ndef f(x): return r()", "from random import getrandbits as r\ndef f(x): return r()"),
    "a descriptor derived from one of Python's": (
        "class own(functools.cached_property):\n def __get__(self, o, t=None): return 1\nclass C:\n @own\n def p(self): return 0\ndef f(x): return C().p",
        "class own(functools.cached_property):\n def __get__(self, o, t=None): return 2\nclass C:\n @own\n def p(self): return 0\ndef f(x): return C().p",
    ),
    "what is wrapped around a generated method": (
        "def limited(cls):\n i = cls.__init__\n @functools.wraps(i)\n def init(self, a): i(self, min(a, 1))\n cls.__init__ = init\n return cls\n@limited\n@dataclasses.dataclass\nclass D:\n a: int\ndef f(x): return D(x).a",
        "def limited(cls):\n i = cls.__init__\n @functools.wraps(i)\n def init(self, a): i(self, min(a, 2))\n cls.__init__ = init\n return cls\n@limited\n@dataclasses.dataclass\nclass D:\n a: int\ndef f(x): return D(x).a",
    ),
    "defaults given to a named tuple": (
        "P = collections.namedtuple('P', 'a')\nP.__new__.__defaults__ = (1,)\ndef f(x): return P()",
        "P = collections.namedtuple('P', 'a')\nP.__new__.__defaults__ = (2,)\ndef f(x): return P()",
    ),
    "defaults given to a dataclass": (
        "@dataclasses.dataclass\nclass D:\n a: int = 0\nD.__init__.__defaults__ = (1,)\ndef f(x): return D()",
        "@dataclasses.dataclass\nclass D:\n a: int = 0\nD.__init__.__defaults__ = (2,)\ndef f(x): return D()",
    ),
    "a class that make_dataclass makes": (
        "D = dataclasses.make_dataclass('D', [('a', int, dataclasses.field(default=1))])\ndef f(x): return D().a",
        "D = dataclasses.make_dataclass('D', [('a', int, dataclasses.field(default=2))])\ndef f(x): return D().a",
    ),
    "a class made by a call below an abstract one": (
        "import abc\nclass B(abc.ABC): pass\nC = type('C', (B,), {'size': 1})\ndef f(x): return C().size",
        "import abc\nclass B(abc.ABC): pass\nC = type('C', (B,), {'size': 2})\ndef f(x): return C().size",
    ),
    "an attribute named as pydantic's and enums' are": (
        "class C:\n model_fields = ['a']\n _use_args_ = 1\ndef f(x): return C.model_fields, C._use_args_",
        "class C:\n model_fields = ['a']\n _use_args_ = 2\ndef f(x): return C.model_fields, C._use_args_",
    ),
    "what a generic base is given": (
        "T = typing.TypeVar('T')\nclass B(typing.Generic[T]): pass\nclass C(B[int]): pass\ndef f(x): return C.__orig_bases__",
        "T = typing.TypeVar('T')\nclass B(typing.Generic[T]): pass\nclass C(B[str]): pass\ndef f(x): return C.__orig_bases__",
    ),
    "a dunder attribute of a function": (
        "def g(x): return g.__rules__\ng.__rules__ = 1\ndef f(x): return g(x)",
        "def g(x): return g.__rules__\ng.__rules__ = 2\ndef f(x): return g(x)",
    ),
    "the name given to a function, where it is read": (
        "def g(x): return x\ng.__name__ = 'a'\ndef f(x): return g.__name__",
        "def g(x): return x\ng.__name__ = 'b'\ndef f(x): return g.__name__",
    ),
    "what a new type stands for": (
        "U = typing.NewType('U', int)\nclass M(BaseModel):\n a: U\ndef f(x): return M(a=x)",
        "U = typing.NewType('U', float)\nclass M(BaseModel):\n a: U\ndef f(x): return M(a=x)",
    ),
    "the bound of a type variable": (
        "T = typing.TypeVar('T', bound=int)\ndef f(x): return T.__bound__",
        "T = typing.TypeVar('T', bound=str)\ndef f(x): return T.__bound__",
    ),
    "a docstring that getattr reads": (
        "def g(x): 'one'\ndef f(x): return getattr(g, '__doc__')",
        "def g(x): 'two'\ndef f(x): return getattr(g, '__doc__')",
    ),
    "annotations that getattr reads": (
        "def g(x: int): return x\ndef f(x): return getattr(g, '__annotations__')",
        "def g(x: str): return x\ndef f(x): return getattr(g, '__annotations__')",
    ),
    "the order of a class, where it is read": (
        "class C:\n a = 1\n b = 2\ndef f(x): return list(vars(C))",
        "class C:\n b = 2\n a = 1\ndef f(x): return list(vars(C))",
    ),
    "the global __doc__": ("__doc__ = 'one'\ndef f(x): return __doc__", "__doc__ = 'two'\ndef f(x): return __doc__"),
    **RECOMPUTED_HERE,
}  # fmt: skip


@pytest.mark.parametrize("edit", RECOMPUTED)
def test_an_edit_of_what_is_reached_changes_the_fingerprint(edit: str) -> None:
    before, after = RECOMPUTED[edit]

    assert print_of(before).fingerprint != print_of(after).fingerprint


@pytest.mark.parametrize("edit", RECOMPUTED)
def test_the_same_cells_in_another_notebook_give_the_same_fingerprint(edit: str) -> None:
    for cell in RECOMPUTED[edit]:
        assert print_of(cell).parts == print_of("\n\n" + cell).parts


KEPT: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "comments": (("def f(x):\n return x",), ("# a\ndef f(x):  # b\n # c\n return x  # d",)),
    "a docstring": (("def f(x): return x",), ("def f(x):\n '''doc'''\n return x",)),
    "a docstring of a model's computed field": (
        ("class V(BaseModel):\n n: int\n @computed_field\n @property\n def d(self) -> int: return 1\ndef f(x): return V(n=x)",),
        (
            "class V(BaseModel):\n n: int\n @computed_field\n @property\n def d(self) -> int:\n  'Doc.'\n  # why\n  return 1\ndef f(x): return V(n=x)",
        ),
    ),
    "docstrings of a model's validators and serializers": (
        (
            "class V(BaseModel):\n n: int\n @field_validator('n')\n @classmethod\n def a(cls, v): return v\n @model_validator(mode='after')\n def b(self): return self\n @field_serializer('n')\n def c(self, v): return v\ndef f(x): return V(n=x)",
        ),
        (
            "class V(BaseModel):\n n: int\n @field_validator('n')\n @classmethod\n def a(cls, v):\n  'A.'\n  return v\n @model_validator(mode='after')\n def b(self):\n  'B.'\n  return self\n @field_serializer('n')\n def c(self, v):\n  'C.'\n  return v\ndef f(x): return V(n=x)",
        ),
    ),
    "docstrings of properties": (
        ("class V:\n @property\n def a(self): return 1\n @functools.cached_property\n def b(self): return 2\ndef f(x): return V().a",),
        (
            "class V:\n @property\n def a(self):\n  'A.'\n  return 1\n @functools.cached_property\n def b(self):\n  'B.'\n  return 2\ndef f(x): return V().a",
        ),
    ),
    "another docstring": (("def f(x):\n 'a'\n return x",), ("def f(x):\n '''b\n c'''\n return x",)),
    "an annotation that nothing reads": (
        ("def g(x: int) -> int: return x\ndef f(x): return g(x)",),
        ("def g(x: int) -> float: return x\ndef f(x): return g(x)",),
    ),
    "a flag that was turned round": (
        ("class F(enum.Flag):\n A = 1\n B = 2\ndef f(x): return F.A",),
        ("class F(enum.Flag):\n A = 1\n B = 2\ndef f(x): return F.A", "~F.A"),
    ),
    "an abstract class that was asked about others": (
        ("import abc\nclass A(abc.ABC): pass\ndef f(x): return isinstance(x, A)",),
        ("import abc\nclass A(abc.ABC): pass\ndef f(x): return isinstance(x, A)", "f(1)"),
    ),
    "a docstring of a helper": (("def g(): return 1\ndef f(x): return g()",), ("def g():\n 'd'\n return 1\ndef f(x): return g()",)),
    "a docstring of a class and its method": (
        ("class C:\n def m(self): return 1\ndef f(x): return C().m()",),
        ("class C:\n 'doc'\n def m(self):\n  'doc'\n  return 1\ndef f(x): return C().m()",),
    ),
    "a docstring of a nested function": (
        ("def f(x):\n def g(): return 1\n return g()",),
        ("def f(x):\n def g():\n  'doc'\n  return 1\n return g()",),
    ),
    "blank lines": (("def f(x):\n a = x\n return a",), ("\n\ndef f(x):\n\n a = x\n\n\n return a\n",)),
    "formatting": (("def f(x, y=1): return {'a': x, 'b': [1, 2]}",), ('def f( x,y = 1 ):\n    return {\n  "a":x,"b":[ 1,2, ],\n }',)),
    "parentheses": (("def f(x): return x + 1",), ("def f(x): return (x + (1))",)),
    "quotes": (("def f(x): return 'a'",), ('def f(x): return """a"""',)),
    "a return annotation": (("def f(x): return x",), ("def f(x) -> int: return x",)),
    "two cells for one": (("def g(): return 1\ndef f(x): return g()",), ("def g(): return 1", "def f(x): return g()")),
    "the order of definitions": (
        ("A = 1\ndef g(): return A\ndef f(x): return g()",),
        ("def f(x): return g()\ndef g(): return A\nA = 1",),
    ),
    "the order of cells": (("A = 1", "def g(): return A", "def f(x): return g()"), ("def f(x): return g()", "def g(): return A", "A = 1")),
    "an unrelated global": (("def f(x): return x",), ("B = 1\ndef other(): return 2\ndef f(x): return x",)),
    "a cell run again": (("def g(): return 1", "def f(x): return g()"), ("def g(): return 1", "def f(x): return g()", "def g(): return 1")),
    "an edit that was taken back": (
        ("def g(): return 1", "def f(x): return g()"),
        ("def g(): return 2", "def f(x): return g()", "def g(): return 1"),
    ),
    "the order of methods": (
        ("class C:\n def a(self): return 1\n def b(self): return 2\ndef f(x): return C().a()",),
        ("class C:\n def b(self): return 2\n def a(self): return 1\ndef f(x): return C().a()",),
    ),
    "an unused import": (("def f(x): return x",), ("import json\ndef f(x): return x",)),
    "another instance that is equal": (("class C:\n pass\nc = C()\ndef f(x): return c",), ("class C:\n pass\nd = C()\nc = C()\ndef f(x): return c",)),
    "another order of a set": (("S = {'a', 'b', 'c', 8, 16}\ndef f(x): return x in S",), ("S = {16, 8, 'c', 'b', 'a'}\ndef f(x): return x in S",)),
    "a function that was called": (
        ("@functools.lru_cache\ndef g(x): return x\ndef f(x): return g(x)",),
        ("@functools.lru_cache\ndef g(x): return x\ndef f(x): return g(x)\nf(1)",),
    ),
    "a dispatched function that was called": (
        ("@functools.singledispatch\ndef g(x): return x\ndef f(x): return g(x)",),
        ("@functools.singledispatch\ndef g(x): return x\ndef f(x): return g(x)\nf(1)",),
    ),
    "a model that was used": (
        ("class M(BaseModel):\n a: int = 1\ndef f(x: M): return M(**x)",),
        ("class M(BaseModel):\n a: int = 1\ndef f(x: M): return M(**x)\nf({}); M.model_json_schema(); repr(M)",),
    ),
    "an enum that was used": (
        ("class E(enum.Flag):\n A = 1\n B = 2\ndef f(x): return E.A",),
        ("class E(enum.Flag):\n A = 1\n B = 2\ndef f(x): return E.A\nE.A | E.B; E(3)",),
    ),
    "an unrelated global beside a type adapter": (
        ("T = TypeAdapter(list[int])\n@validate_call\ndef f(x: int): return T",),
        ("T = TypeAdapter(list[int])\n@validate_call\ndef f(x: int): return T\nB = 1\nf(1)",),
    ),
    "a docstring that names a global": (
        ("A = 1\ndef f(x):\n 'no name'\n return x.query('b')",),
        ("A = 2\ndef f(x):\n 'the name A is here'\n return x.query('b')",),
    ),
    "a class that was used": (
        ("@typing.runtime_checkable\nclass B(typing.Protocol):\n def m(self): ...\nclass C(B):\n def m(self): return 1\ndef f(x): return C()",),
        ("@typing.runtime_checkable\nclass B(typing.Protocol):\n def m(self): ...\nclass C(B):\n def m(self): return 1\ndef f(x): return C()\nissubclass(C, B); f(1); import pickle, copy; copy.copy(C())",),
    ),
    **KEPT_HERE,
}  # fmt: skip


@pytest.mark.parametrize("edit", KEPT)
def test_an_edit_without_effect_keeps_the_fingerprint(edit: str) -> None:
    before, after = KEPT[edit]

    assert print_of(*before).parts == print_of(*after).parts
    assert print_of(*before).fingerprint == print_of(*after).fingerprint


@pytest.mark.parametrize("edit", RECOMPUTED)
def test_sources_are_found_for_all_that_has_one(edit: str) -> None:
    for cell in RECOMPUTED[edit]:
        if not any(made in cell for made in ("exec(", "= cls.__init__")):
            assert not any("bytecode" in sentence for sentence in print_of(cell).opaque)
