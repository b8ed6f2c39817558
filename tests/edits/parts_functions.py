"""Functions, what is put around them, and what stands in them."""

# ruff: noqa: E501 - a definition is a line

from __future__ import annotations

from tests.edits.parts import Part, in_function

FUNCTIONS = {
    "a function": in_function("return $inner + $a"),
    "a function of statements": in_function(
        "total = $inner\n    for i in range($a):\n        total += i * $b\n    return total"
    ),
    "a helper of a helper": in_function("return g$n($inner) + $b", "def g$n(v):\n    return v * $a\n"),
    "functions that call each other": Part(
        "def g$n(v):\n    return 0 if v <= 0 else h$n(v - $a)\ndef h$n(v):\n    return $b + g$n($inner % 20)\n"
    ),
    "a default": Part("def h$n(v, k=$a):\n    return $inner + k\n"),
    "a default worked out": Part("K$n = [$a, $b]\ndef h$n(v, *, k=sum(K$n)):\n    return $inner + k\n"),
    "a default that is a function": Part("def g$n(v):\n    return v + $a\ndef h$n(v, k=g$n):\n    return k($inner)\n"),
    "a nested function": in_function("def g(w):\n        return w + $a\n    return g($inner)"),
    "a nested function's default": in_function(
        "def g(w, k=K$n):\n        return w + k\n    return g($inner)", "K$n = $a"
    ),
    "a closure": Part("def make$n(k):\n    def g(v):\n        return $inner + k\n    return g\nh$n = make$n($a)\n"),
    "a closure over a function": Part(
        "def make$n(k):\n    return lambda v: k($inner)\nh$n = make$n(lambda v: v * $a)\n"
    ),
    "a closure that counts": in_function(
        "count = 0\n    def step():\n        nonlocal count\n        count += $a\n    step()\n    step()\n    "
        "return count + $inner"
    ),
    "a lambda": Part("h$n = lambda v: $inner + $a\n"),
    "lambdas in a list": Part("L$n = [lambda v: $inner + $a, lambda v: v * $b]\n", "L$n[1](L$n[0](v))"),
    "lambdas in a dict": Part("L$n = {'a': lambda v: $inner + $a, 'b': lambda v: v * $b}\n", "L$n['a'](v)"),
    "a function's attribute": Part("def h$n(v):\n    return $inner + h$n.k\nh$n.k = $a\n"),
    "a function's docstring": Part("def g$n():\n    '''$a'''\ndef h$n(v):\n    return $inner + int(g$n.__doc__)\n"),
    "a function's name": in_function(
        "return $inner + len(g$n.__name__)", "def g$n():\n    pass\ng$n.__name__ = 'x' * $a"
    ),
    "a function's annotations": in_function(
        "return $inner + len(g$n.__annotations__['x'].__args__)",
        "def g$n(x: 'typing.Any'):\n    pass\ng$n.__annotations__ = {'x': tuple[$a]}",
        a=("int", "int, str", "int, int, int"),
    ),
    "a generator": in_function(
        "return sum(g$n($inner % 10))", "def g$n(v):\n    for i in range(v):\n        yield i * $a\n"
    ),
    "a generator in a generator": in_function(
        "return sum(g$n($inner % 10))", "def g$n(v):\n    yield from (i + $a for i in range(v))\n    yield $b\n"
    ),
    "a coroutine": Part(
        "async def g$n(v):\n    return $inner + $a\nasync def k$n(v):\n    return await g$n(v) * $b\n"
        "def h$n(v):\n    try:\n        k$n(v).send(None)\n    except StopIteration as ended:\n        return ended.value\n"
    ),
    "code that was executed": Part("exec('def g$n(v): return v + $a')\ndef h$n(v):\n    return g$n($inner)\n"),
    "an exception": in_function(
        "try:\n        raise E$n($inner, $a)\n    except E$n as error:\n        return error.args[0] + error.args[1] * error.k",
        "class E$n(ValueError):\n    k = $b\n",
    ),
    "a context manager": in_function(
        "with g$n($inner) as got:\n        return got",
        "@contextlib.contextmanager\ndef g$n(v):\n    yield v + $a\n",
    ),
    "a match on values": in_function(
        "match $inner % 4:\n        case K$n.A:\n            return $b\n        case 1 | 2:\n            return $c\n"
        "        case other:\n            return other",
        "class K$n:\n    A = $a - 1\n",
    ),
    "a match on shapes": in_function(
        "match {'x': $inner, 'y': [v, $a]}:\n        case {'x': int(x), 'y': [_, y]} if x > $b:\n            return x + y\n"
        "        case {'y': [*_, y]}:\n            return -y"
    ),
    "an f-string": in_function("return len(f'{$inner:>{K$n}}') + $b", "K$n = $a * 4"),
    "an f-string's text": in_function("return int(f'$a{abs($inner)}')"),
    "a conditional": in_function("return $a if $inner % 2 else $b"),
    "a name given on the way": in_function("return (w := $inner) + w * $a"),
    "a slice": in_function("return sum(range(100)[$inner % 7 : : $a + 1])"),
    "a list comprehension": in_function("return sum([i * K$n for i in range($inner % 9) if i != $b])", "K$n = $a"),
    "a set of a dict comprehension": in_function(
        "return sum(len(s) for s in {i: {j % $a for j in range(i)} for i in range($inner % 9)}.values())"
    ),
    "a generator expression over a helper": in_function(
        "return sum(g$n(i) for i in range($inner % 5))", "def g$n(v):\n    return v + $a\n"
    ),
    "a class inside": in_function("class C:\n        k = K$n\n    return C.k + $inner", "K$n = $a"),
    "an import inside a function inside": in_function(
        "def g(w):\n        import math as m\n        return m.$a(w)\n    return g(abs($inner))",
        a=("isqrt", "floor", "ceil"),
    ),
    "a name looked up among the globals": in_function("return globals()['K$n'] + $inner", "K$n = $a"),
    "a function's code": Part(
        "def g$n(v):\n    return v + $a\ndef h$n(v):\n    return $inner + len(g$n.__code__.co_consts)\n"
    ),
}

DECORATORS = {
    "a decorator": Part(
        "def d$n(g):\n    @functools.wraps(g)\n    def w(v):\n        return g(v) + $a\n    return w\n"
        "@d$n\ndef h$n(v):\n    return $inner * $b\n"
    ),
    "a decorator that hides what it wraps": Part(
        "def d$n(g):\n    return lambda v: g(v) * $a\n@d$n\ndef h$n(v):\n    return $inner + $b\n"
    ),
    "a decorator with an argument": Part(
        "def d$n(k):\n    def d(g):\n        @functools.wraps(g)\n        def w(v):\n            return g(v) + k\n"
        "        return w\n    return d\n@d$n($a)\ndef h$n(v):\n    return $inner\n"
    ),
    "two decorators": Part(
        "def a$n(g):\n    return functools.wraps(g)(lambda v: g(v) + $a)\n"
        "def b$n(g):\n    return functools.wraps(g)(lambda v: g(v) * $b)\n@a$n\n@b$n\ndef h$n(v):\n    return $inner\n"
    ),
    "a decorator that is a class": Part(
        "class d$n:\n    k = $a\n    def __init__(self, g):\n        self.g = g\n        functools.update_wrapper(self, g)\n"
        "    def __call__(self, v):\n        return self.g(v) + self.k\n@d$n\ndef h$n(v):\n    return $inner + $b\n"
    ),
    "a decorator that registers": Part(
        "R$n = {}\ndef d$n(g):\n    R$n[g.__name__[0]] = g\n    return g\n@d$n\ndef x$n(v):\n    return $inner + $a\n"
        "@d$n\ndef y$n(v):\n    return v * $b\ndef h$n(v):\n    return R$n['x'](v) + R$n['y'](v)\n"
    ),
    "lru_cache": Part("@functools.lru_cache\ndef h$n(v):\n    return $inner + $a\n"),
    "singledispatch": Part(
        "@functools.singledispatch\ndef g$n(v):\n    return 0\n@g$n.register\ndef _(v: int):\n    return v + $a\n"
        "@g$n.register(str)\ndef _(v):\n    return len(v) * $b\ndef h$n(v):\n    return g$n($inner) + g$n('xy')\n"
    ),
    "a partial": Part("def g$n(v, k, *, j):\n    return $inner * k + j\nh$n = functools.partial(g$n, k=$a, j=$b)\n"),
    "validate_call": Part("@validate_call\ndef h$n(v: int, k: int = $a) -> int:\n    return $inner + k\n"),
    "reduce": in_function(
        "return functools.reduce(g$n, range($inner % 6), $b)", "def g$n(a, b):\n    return a * $a + b\n"
    ),
    "a key function": in_function(
        "return sorted(range(9), key=functools.cmp_to_key(g$n))[$inner % 9]",
        "def g$n(a, b):\n    return (a * $a % 7) - (b * $a % 7)\n",
    ),
}
