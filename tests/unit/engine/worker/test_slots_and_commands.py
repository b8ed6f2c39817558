"""Classes with slots have them on a worker, and lines of IPython's own in a function are named."""

from __future__ import annotations

import abc
import dataclasses
import linecache
from typing import Any, Generic, NamedTuple, TypeVar

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell

from tensorlake_nb import tensorlake_function
from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.engine.travel import pickler as travel
from tensorlake_nb.engine.travel import unpickler
from tensorlake_nb.engine.travel.packing import pack
from tensorlake_nb.errors import SerializationError

T = TypeVar("T")


@dataclasses.dataclass(slots=True)
class Row:
    count: int
    name: str = "a"


@dataclasses.dataclass(slots=True, frozen=True)
class Longer(Generic[T]):
    held: Any = None


class Plain:
    __slots__ = ("__hidden", "seen")

    def __init__(self) -> None:
        self.seen, self.__hidden = 1, 2

    def both(self) -> tuple[int, int]:
        return self.seen, self.__hidden


class Below(Plain):
    __slots__ = ("more",)


class Abstract(abc.ABC):
    __slots__ = "only"

    @abc.abstractmethod
    def f(self) -> int: ...


class Concrete(Abstract):
    __slots__ = ()

    def f(self) -> int:
        self.only = 3
        return self.only


class Pair(NamedTuple):
    left: int


class Open(Plain):
    """Without slots of its own its instances take any attribute."""


def there(value: Any) -> Any:
    return unpickler.loads(travel.dumps(value)[0])


@pytest.mark.parametrize(
    "made", [Row(1), Longer("x"), Plain(), Below(), Concrete(), Pair(1)], ids=lambda made: type(made).__name__
)
def test_a_misspelt_attribute_is_refused_on_a_worker_as_it_is_here(made: Any) -> None:
    arrived = there(made)

    assert type(arrived) is not type(made)
    for each in (made, arrived):
        with pytest.raises((AttributeError, TypeError)):
            each.cuont = 1


def test_what_slots_hold_arrives() -> None:
    assert there(Row(3, "b")).name == "b"
    assert there(Plain()).both() == (1, 2)
    assert there(Concrete)().f() == 3
    opened = there(Open())
    opened.anything = 1
    assert (opened.both(), opened.anything) == ((1, 2), 1)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("!echo downloading {n}", "!echo downloading {n}"),
        ("found = !ls", "!ls"),
        ("%timeit n + 1", "%timeit n + 1"),
        ("%run other.py", "%run other.py"),
    ],
)
@pytest.mark.parametrize("is_helper", [False, True])
def test_a_line_of_ipythons_own_is_named_with_its_number(line: str, shown: str, is_helper: bool) -> None:
    shell = InteractiveShell()
    cell = f"def inner(n: int) -> int:\n    # first\n    {line}\n    return n\n"
    cell += "def outer(n: int) -> int:\n    return inner(n)\n"
    text = TransformerManager().transform_cell(cell)
    linecache.cache["<ipython-input-77>"] = (len(text), None, text.splitlines(keepends=True), "<ipython-input-77>")
    namespace: dict[str, Any] = {"__name__": "__main__", "get_ipython": shell.get_ipython}
    exec(compile(text, "<ipython-input-77>", "exec"), namespace)
    function = tensorlake_function()(namespace["outer" if is_helper else "inner"])

    with pytest.raises(SerializationError) as caught:
        pack(fingerprint(function), function)

    assert f"line 3 of its cell, `{shown}`, only means something to IPython" in str(caught.value)
    assert "subprocess" in str(caught.value)
