"""Globals of many kinds."""

from __future__ import annotations

from tests.edits.parts import Part, in_function


def _value(value: str, use: str = "K$n", **knobs: tuple[str, ...]) -> Part:
    """A global that is this, and a function that adds what is read off it."""
    return in_function(f"return $inner + int({use})", f"K$n = {value}", **knobs)


VALUES = {
    "an int": _value("$a"),
    "a float": _value("$a / 4", "K$n * 4"),
    "a string": _value("'$a' * 2"),
    "bytes": _value("b'$a'", "K$n[0]"),
    "a list of a dict": _value("[{'a': $a, 'b': ($b, 2)}]", "K$n[0]['a'] + K$n[0]['b'][0]"),
    "a dict's order": _value("dict($a)", "next(iter(K$n.values()))", a=("a=1, b=2", "b=2, a=1", "a=2, b=1")),
    "a set": _value("{$a, 10, 'x'}", "len(K$n) + (2 in K$n)"),
    "a frozen set": _value("frozenset({$a, 10})", "sum(K$n)"),
    "a range": _value("range($a, 20)", "K$n[1]"),
    "a slice": _value("slice($a, None)", "sum(range(10)[K$n])"),
    "an array": _value("np.arange($a + 2)", "K$n.sum()"),
    "an array's type": _value(
        "np.array([300, 70000], '$b')[: $a % 2 + 1]", "K$n.itemsize + len(K$n)", b=("u4", "i8", "f4", "f8")
    ),
    "a deque": _value("collections.deque([$a, $b], maxlen=4)", "K$n[0] * 10 + K$n[1] + K$n.maxlen"),
    "a Counter": _value("collections.Counter('ab' * $a)", "K$n['a']"),
    "an OrderedDict": _value("collections.OrderedDict(a=$a, b=2)", "K$n['a']"),
    "a ChainMap": _value("collections.ChainMap({'a': $a}, {'b': $b})", "K$n['a'] + K$n['b']"),
    "a default dict": _value("collections.defaultdict(lambda: $a)", "K$n.copy()[1]"),
    "a mapping proxy": _value("types.MappingProxyType({'a': $a})", "K$n['a']"),
    "a simple namespace": _value("types.SimpleNamespace(a=$a, b=types.SimpleNamespace(c=$b))", "K$n.a + K$n.b.c"),
    "keys": _value("{'x' * $a: 1}.keys()", "len([*K$n][0])"),
    "values": _value("{'a': $a}.values()", "sum(K$n)"),
    "items": _value("{'a': $a}.items()", "[*K$n][0][1]"),
    "a date": _value("datetime.date(2020, 1, $a)", "K$n.day"),
    "a time span": _value("datetime.timedelta(seconds=$a)", "K$n.total_seconds()"),
    "a Decimal": _value("decimal.Decimal($a)"),
    "a Fraction": _value("fractions.Fraction($a, 1)"),
    "a pattern": _value("re.compile('$a')", "len(K$n.findall('1123581321'))"),
    "an item getter": _value("operator.itemgetter($a)", "K$n(range(9, 0, -1))"),
    "a method caller": _value("operator.methodcaller('count', '$a')", "K$n('1123581321')"),
    "a partial": _value("functools.partial(pow, $a)", "K$n(2)"),
    "a string template": _value("string.Template('$${x}$a')", "K$n.substitute(x=1)"),
    "a bound method of a value": _value("'1123581321$a'.count", "K$n('1')", a=("0", "1", "11", "2")),
    "a builtin": _value("$c", "K$n(3, 4)", c=("max", "min", "pow", "math.hypot")),
    "a random generator": _value("__import__('random').Random($a)", "K$n.getstate()[1][0] % 1000"),
    "a shared list": _value("(lambda s: [s, s, $a])([$b])", "K$n[0][0] + K$n[2] + (K$n[0] is K$n[1])"),
    "a list in itself": _value("(lambda s: s.append(s) or s)([$a])", "K$n[0] + K$n[1][0]"),
    "a struct": _value("__import__('struct').Struct('${a}i')", "K$n.size"),
    "a context variable": _value("__import__('contextvars').ContextVar('k', default=$a)", "K$n.get()"),
    "an alias of types": _value("typing.Annotated[int, $a]", "typing.get_args(K$n)[1]"),
    "a made type": _value("typing.NewType('x' * $a, int)", "len(K$n.__name__)"),
    "a global changed in place": in_function("return $inner + sum(K$n)", "K$n = [1]\nK$n.append($a)\nK$n[0] += $b"),
    "globals made in a loop": in_function(
        "return $inner + sum(K$n)", "K$n = []\nfor i$n in range($a):\n    K$n.append(i$n * $b)"
    ),
    "a global of a global": in_function("return $inner + K$n", "J$n = $a\nK$n = J$n * 2"),
    "a global taken apart": in_function("return $inner + K$n - J$n", "K$n, (J$n, *_) = $a, ($b, 2)"),
    "a global under a condition": in_function("return $inner + K$n", "if $a > 2:\n    K$n = 1\nelse:\n    K$n = $b"),
}
