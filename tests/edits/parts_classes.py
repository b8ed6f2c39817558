"""Classes: plain ones, dataclasses, models, enums, tuples with names."""

# ruff: noqa: E501 - a definition is a line

from __future__ import annotations

from tests.edits.parts import Part, in_class

_METHOD = "def m(self, v):\n        return $inner + $a\n"
CLASSES = {
    "a method": in_class(_METHOD, "C$n().m(v)"),
    "a method of an instance": Part(f"class C$n:\n    k = $b\n    {_METHOD}c$n = C$n()\n", "c$n.m(v) + c$n.k"),
    "a bound method": Part(
        "class C$n:\n    def __init__(self, k):\n        self.k = k\n    def m(self, v):\n        return $inner + self.k\n"
        "h$n = C$n($a).m\n"
    ),
    "a private method": in_class(
        "def __p(self, v):\n        return v + $a\n    def m(self, v):\n        return self.__p($inner)\n", "C$n().m(v)"
    ),
    "a property": in_class("@property\n    def p(self):\n        return $a\n", "$inner + C$n().p"),
    "a property with a setter": in_class(
        "@property\n    def p(self):\n        return self._p\n    @p.setter\n    def p(self, k):\n        self._p = k * $a\n",
        "$inner + (lambda c: (setattr(c, 'p', $b), c.p)[1])(C$n())",
    ),
    "a cached property": in_class(
        "@functools.cached_property\n    def p(self):\n        return $a\n", "$inner + C$n().p"
    ),
    "a cached property of an instance": Part(
        "class C$n:\n    k = $a\n    @functools.cached_property\n    def p(self):\n        return self.k * $b\nc$n = C$n()\n"
        "def h$n(v):\n    return $inner + c$n.p\n"
    ),
    "a static method": in_class("@staticmethod\n    def m(v):\n        return $inner + $a\n", "C$n.m(v)"),
    "a class method": in_class(
        "k = $a\n    @classmethod\n    def m(cls, v):\n        return $inner + cls.k\n", "C$n.m(v)"
    ),
    "a class attribute": in_class("k = $a\n    j = [k, $b]\n", "$inner + C$n.k + C$n.j[1]"),
    "a class attribute set later": Part("class C$n:\n    k = 1\nC$n.k = $a\ndef h$n(v):\n    return $inner + C$n.k\n"),
    "a method replaced later": Part(
        "class C$n:\n    def m(self, v):\n        return v\nC$n.m = lambda self, v: $inner + $a\n", "C$n().m(v)"
    ),
    "a base class": Part(
        "class B$n:\n    def m(self, v):\n        return $inner + $a\nclass C$n(B$n):\n    pass\n", "C$n().m(v)"
    ),
    "super": Part(
        "class B$n:\n    def m(self, v):\n        return $inner + $a\nclass C$n(B$n):\n    def m(self, v):\n"
        "        return super().m(v) * $b\n",
        "C$n().m(v)",
    ),
    "two bases": Part(
        "class A$n:\n    k = $a\nclass B$n:\n    k = $b\n    j = 3\nclass C$n($c):\n    pass\n"
        "def h$n(v):\n    return $inner + C$n.k + C$n.j\n",
        knobs={"c": ("A$n, B$n", "B$n, A$n", "B$n")},
    ),
    "a metaclass": Part(
        "class M$n(type):\n    def __len__(cls):\n        return $a\nclass C$n(metaclass=M$n):\n    pass\n"
        "def h$n(v):\n    return $inner + len(C$n)\n"
    ),
    "a nested class": in_class("class D:\n        def m(self, v):\n            return $inner + $a\n", "C$n.D().m(v)"),
    "slots": Part(
        "class C$n:\n    __slots__ = ('k',)\n    def __init__(self, k):\n        self.k = k\nc$n = C$n($a)\n"
        "def h$n(v):\n    return $inner + c$n.k\n"
    ),
    "special methods": in_class(
        "def __len__(self):\n        return $a\n    def __getitem__(self, k):\n        return k * $b\n"
        "    def __contains__(self, k):\n        return k > $c\n",
        "len(C$n()) + C$n()[$inner] + (2 in C$n())",
    ),
    "an instance that is called": Part(
        "class C$n:\n    def __call__(self, v):\n        return $inner + $a\nh$n = C$n()\n"
    ),
    "an attribute made up": in_class(
        "def __getattr__(self, name):\n        return len(name) * $a\n", "$inner + C$n().abc"
    ),
    "a descriptor": Part(
        "class D$n:\n    def __set_name__(self, owner, name):\n        self.k = len(name) + $a\n    def __get__(self, one, cls):\n"
        "        return self.k * $b\nclass C$n:\n    d = D$n()\ndef h$n(v):\n    return $inner + C$n().d\n"
    ),
    "subclasses that register": Part(
        "class B$n:\n    known = {}\n    def __init_subclass__(cls, **given):\n        B$n.known[cls.__name__[0]] = cls\n"
        "class X$n(B$n):\n    k = $a\nclass Y$n(B$n):\n    def m(self, v):\n        return $inner + $b\n"
        "def h$n(v):\n    return B$n.known['X'].k + B$n.known['Y']().m(v)\n"
    ),
    "a class that is decorated": Part(
        "def d$n(cls):\n    cls.k = $a\n    return cls\n@d$n\nclass C$n:\n    j = $b\ndef h$n(v):\n    return $inner + C$n.k + C$n.j\n"
    ),
    "a class that is made": Part(
        "C$n = type('C$n', (), {'k': $a, 'm': lambda self, v: $inner + self.k})\n", "C$n().m(v)"
    ),
    "an abstract class": Part(
        "import abc\nclass B$n(abc.ABC):\n    @abc.abstractmethod\n    def m(self, v): ...\n    def t(self, v):\n"
        "        return self.m(v) + $a\nclass C$n(B$n):\n    def m(self, v):\n        return $inner * $b\n",
        "C$n().t(v)",
    ),
    "a protocol": Part(
        "class P$n(typing.Protocol):\n    k: int = $a\nclass C$n(P$n):\n    j = $b\ndef h$n(v):\n    return $inner + C$n().k * C$n.j\n"
    ),
    "a generic class": Part(
        "T$n = typing.TypeVar('T$n')\nclass C$n(typing.Generic[T$n]):\n    def m(self, v):\n        return $inner + $a\n",
        "C$n[int]().m(v)",
    ),
    "total ordering": Part(
        "@functools.total_ordering\nclass C$n:\n    def __init__(self, k):\n        self.k = k\n    def __eq__(self, other):\n"
        "        return self.k == other.k\n    def __lt__(self, other):\n        return self.k % $a < other.k % $a\n"
        "    __hash__ = None\n",
        "(C$n($inner) >= C$n($b)) + v",
    ),
    "a partial method": in_class(
        "def m(self, k, v):\n        return $inner + k\n    n = functools.partialmethod(m, $a)\n", "C$n().n(v)"
    ),
    "an instance of instances": Part(
        "class C$n:\n    def __init__(self, k, below=None):\n        self.k, self.below = k, below\nc$n = C$n($a, C$n($b))\n"
        "c$n.below.above = c$n\ndef h$n(v):\n    return $inner + c$n.k * c$n.below.k + c$n.below.above.k\n"
    ),
    "a context manager that is a class": in_class(
        "def __enter__(self):\n        return $a\n    def __exit__(self, *_):\n        return bool($b - 1)\n",
        "g$n(v)\ndef g$n(v):\n    with C$n() as k:\n        return $inner + k // (v % 2)\n    return -1",
    ),
    "names of a class": in_class(
        "a = 1\n    $b = $a\n", "$inner + sum(k for n, k in vars(C$n).items() if n[0] in 'ab')", b=("b", "c")
    ),
}

DATA = {
    "a dataclass": Part(
        "@dataclass\nclass D$n:\n    x: int = $a\n    y: list = field(default_factory=lambda: [$b])\n"
        "def h$n(v):\n    return $inner + D$n().x + D$n().y[0]\n"
    ),
    "a dataclass with a method": Part(
        "@dataclass(frozen=True)\nclass D$n:\n    x: int\n    def m(self):\n        return self.x * $a\n",
        "D$n($inner).m()",
    ),
    "a dataclass after its init": Part(
        "@dataclass\nclass D$n:\n    x: int\n    def __post_init__(self):\n        self.x += $a\n", "D$n($inner).x"
    ),
    "the order of a dataclass": Part(
        "@dataclass\nclass D$n:\n    $a: int\ndef h$n(v):\n    return $inner + D$n(1, 5).x\n",
        knobs={"a": ("x: int\n    y", "y: int\n    x")},
    ),
    "the options of a dataclass": Part(
        "@dataclass($a)\nclass D$n:\n    x: int\n", "(D$n(1) == D$n(1)) + $inner", {"a": ("", "eq=False", "order=True")}
    ),
    "an instance of a dataclass": Part(
        "@dataclass\nclass D$n:\n    x: int\n    f: typing.Callable\nd$n = D$n($a, lambda v: $inner + $b)\n",
        "d$n.f(d$n.x + v)",
    ),
    "fields of a dataclass": Part(
        "@dataclass\nclass D$n:\n    x: int = field(default=1, metadata={'k': $a})\n"
        "def h$n(v):\n    return $inner + sum(f.metadata['k'] for f in dataclasses.fields(D$n))\n"
    ),
    "a dataclass of a dataclass": Part(
        "@dataclass\nclass A$n:\n    x: int = $a\n@dataclass\nclass D$n(A$n):\n    y: int = $b\n"
        "def h$n(v):\n    return $inner + D$n().x * D$n().y\n"
    ),
    "a named tuple": Part(
        "class P$n(typing.NamedTuple):\n    x: int\n    y: int = $a\n    def m(self):\n        return self.x + self.y * $b\n",
        "P$n($inner).m()",
    ),
    "a named tuple's names": Part(
        "P$n = collections.namedtuple('P$n', '$a')\ndef h$n(v):\n    return P$n($inner, 2).x\n",
        knobs={"a": ("x y", "y x")},
    ),
    "an enum": Part(
        "class E$n(enum.Enum):\n    A = $a\n    B = 20\n    def m(self, v):\n        return $inner + self.value * $b\n",
        "E$n.A.m(v)",
    ),
    "an enum's order": Part(
        "class E$n(enum.IntEnum):\n    $a = enum.auto()\n    $b = enum.auto()\n    C = enum.auto()\n"
        "def h$n(v):\n    return $inner + [*E$n][0] * E$n.C + len([*E$n][0].name)\n",
        knobs={"a": ("A", "AA"), "b": ("B", "BB")},
    ),
    "a flag": Part(
        "class E$n(enum.Flag):\n    A = 1\n    B = 2\n    X = $a\ndef h$n(v):\n    return $inner + E$n.X.value\n",
        knobs={"a": ("A | B", "A", "4")},
    ),
    "a member of an enum as a global": Part(
        "class E$n(enum.Enum):\n    A = $a\n    B = $b + 30\nK$n = E$n.$c\ndef h$n(v):\n    return $inner + K$n.value\n",
        knobs={"c": ("A", "B")},
    ),
    "a typed dict": Part(
        "class T$n(typing.TypedDict$c):\n    x: int\n    y: int\ndef h$n(v):\n"
        "    return $inner + len(T$n.__required_keys__) + T$n(x=$a, y=2)['x']\n",
        knobs={"c": ("", ", total=False")},
    ),
    "a model": Part(
        "class D$n(BaseModel):\n    x: int = $a\n    y: list[int] = Field(default_factory=lambda: [$b])\n"
        "def h$n(v):\n    return $inner + D$n().x + D$n().y[0]\n"
    ),
    "a model's type": Part(
        "class D$n(BaseModel):\n    x: $a\ndef h$n(v):\n    return $inner + len(str(D$n(x=3).x))\n",
        knobs={"a": ("int", "float", "bool | int")},
    ),
    "a model's method": Part(
        "class D$n(BaseModel):\n    x: int\n    def m(self):\n        return self.x * $a\n", "D$n(x=$inner).m()"
    ),
    "a model's validator": Part(
        "class D$n(BaseModel):\n    x: int\n    @field_validator('x', mode='$b')\n    @classmethod\n    def c(cls, x):\n"
        "        return x + $a if isinstance(x, int) else len(x)\n",
        "D$n(x=$inner).x",
        {"b": ("before", "after")},
    ),
    "a model's validator as a whole": Part(
        "class D$n(BaseModel):\n    x: int\n    @model_validator(mode='after')\n    def c(self):\n        self.x += $a\n"
        "        return self\n",
        "D$n(x=$inner).x",
    ),
    "a model's annotated type": Part(
        "I$n = typing.Annotated[int, AfterValidator(lambda v: $inner + $a), Field(ge=-9 * $b)]\nclass D$n(BaseModel):\n    x: I$n\n",
        "D$n(x=v).x",
    ),
    "a model's computed field": Part(
        "class D$n(BaseModel):\n    x: int\n    @computed_field\n    @property\n    def y(self) -> int:\n        return self.x + $a\n",
        "D$n(x=$inner).model_dump()['y']",
    ),
    "a model's private attribute": Part(
        "class D$n(BaseModel):\n    x: int\n    _k: int = PrivateAttr(default=$a)\n    def m(self):\n        return self.x + self._k\n",
        "D$n(x=$inner).m()",
    ),
    "a model's config": Part(
        "class D$n(BaseModel):\n    model_config = ConfigDict(extra='$a')\n    x: int\n",
        "len(D$n(x=$inner, y=3).model_dump())",
        {"a": ("allow", "ignore", "forbid")},
    ),
    "a model of models": Part(
        "class A$n(BaseModel):\n    k: int = $a\nclass D$n(BaseModel):\n    below: list[A$n] = [A$n(), A$n(k=$b)]\n"
        "def h$n(v):\n    return $inner + sum(one.k for one in D$n().below)\n"
    ),
    "an instance of a model": Part(
        "class D$n(BaseModel):\n    x: int\n    y: dict[str, int] = {}\nd$n = D$n(x=$a, y={'a': $b})\n"
        "def h$n(v):\n    return $inner + d$n.x + d$n.y['a']\n"
    ),
    "a model's base": Part(
        "class A$n(BaseModel):\n    x: int = $a\n    def m(self):\n        return self.x * $b\nclass D$n(A$n):\n    y: int = 2\n"
        "def h$n(v):\n    return $inner + D$n().m() + D$n().y\n"
    ),
}
