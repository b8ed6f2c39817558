"""What only a pickle keeps: values that contain themselves, deep ones, exceptions, and what libraries make."""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from xml.dom import minidom

import numpy as np
import pytest

from tensorlake_nb.core.keys import Digest
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.errors import SerializationError
from tensorlake_nb.store.codecs import pickles as pickled
from tensorlake_nb.store.codecs.codec import MSGPACK, PICKLE, decode, encode
from tests.support.stores import Point

ANY = Digest(b"\0" * 32)


class Node:
    """One of a list, or of a tree, that knows where it came from."""

    def __init__(self, value: Any, parent: Node | None = None) -> None:
        self.value, self.parent = value, parent
        self.next: Any = None
        self.children: list[Node] = []
        if parent is not None:
            parent.children.append(self)


@dataclasses.dataclass(eq=False)
class Branch:
    """The same as a dataclass."""

    name: str
    parent: Branch | None = None
    children: list[Branch] = dataclasses.field(default_factory=list)


def there_and_back(value: Any, codec: str = PICKLE) -> Any:
    kept = encode(value, digest=ANY)
    assert kept.codec == codec
    return decode(kept.codec, kept.data)


def test_values_that_contain_themselves_come_back_with_their_shape() -> None:
    tree = Node("root")
    leaf = Node("leaf", Node("branch", tree))
    leaf.next = tree
    back = there_and_back(tree)
    assert back.children[0].parent is back
    assert back.children[0].children[0].next is back

    grown = Branch("root")
    grown.children = [Branch("a", grown), Branch("b", grown)]
    back = there_and_back(grown)
    assert [child.parent is back for child in back.children] == [True, True]

    inside: list[Any] = [1]
    inside.append({"all": inside})
    back = there_and_back(inside)
    assert back[1]["all"] is back


def test_what_the_standard_library_makes_of_itself_comes_back() -> None:
    parser = argparse.ArgumentParser("prog")
    parser.add_argument("--n", type=int)
    assert there_and_back(parser).parse_args(["--n", "3"]).n == 3

    page = minidom.parseString("<a><b>text</b></a>")
    back = there_and_back(page)
    assert back.documentElement.firstChild.parentNode is back.documentElement
    assert back.toxml() == page.toxml()


@pytest.mark.parametrize(("deep", "length"), [(pickled._Pickler, 8_000), (pickled._DeepPickler, 2_000)])
def test_a_linked_list_of_any_length_is_kept(deep: type[Any], length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "_DEEP", deep)
    before = sys.getrecursionlimit()
    first: Any = Node(0)
    last = first
    for number in range(1, length):
        last.next = Node(number)
        last.next.parent = last
        last = last.next
    last.next = first

    here = back = there_and_back(first)

    for number in range(length):
        assert here.value == number
        here = here.next
    assert here is back
    assert sys.getrecursionlimit() == before


def test_lists_inside_each_other_are_kept_however_deep() -> None:
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    back, depth = there_and_back(value), 0
    while back:
        back, depth = back[0], depth + 1
    assert depth == 10_000


def test_instances_that_share_their_parts_stay_small() -> None:
    shared: Any = Point(1, 2.0)
    for _ in range(40):
        shared = Branch("both", shared, [shared])
    assert encode(shared, digest=ANY).size_bytes < 10_000
    assert there_and_back([Point(1, 2.0)] * 1000, MSGPACK)


class CodeError(Exception):
    """Made of other arguments than it keeps."""

    def __init__(self, what: str, *, code: int) -> None:
        super().__init__(f"no {what}")
        self.what, self.code = what, code


class SameArgumentsError(ValueError):
    """One whose own way back would say "no no x"."""

    __slots__ = ("where",)

    def __init__(self, what: str) -> None:
        super().__init__(f"no {what}")
        self.where = (what,)


class HttpError(OSError):
    """One that leaves the arguments of its base to nobody."""

    def __init__(self, response: dict[str, Any]) -> None:
        self.response = response
        super().__init__(response["status"], "refused", "/file")


def test_exceptions_are_kept_whatever_they_are_made_of() -> None:
    back = there_and_back(CodeError("x", code=3))
    assert (type(back), back.args, back.what, back.code) == (CodeError, ("no x",), "x", 3)

    back = there_and_back(SameArgumentsError("x"))
    assert (str(back), back.where) == ("no x", ("x",))

    back = there_and_back(HttpError({"status": 13}))
    assert (back.errno, back.filename, back.response) == (13, "/file", {"status": 13})

    group = there_and_back(ExceptionGroup("both", [CodeError("y", code=4), KeyError("k")]))
    assert [str(error) for error in group.exceptions] == ["no y", "'k'"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(2, "no", "file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
        StopIteration(3),
        SystemExit(4),
        SyntaxError("odd", ("file.py", 1, 2, "text")),
        ImportError("no", name="module", path="path"),
        subprocess.CalledProcessError(1, "command", "output"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_of_python_keep_what_they_know(error: BaseException) -> None:
    back = there_and_back(error)
    assert (type(back), back.args, str(back)) == (type(error), error.args, str(error))
    assert (vars(back), digest(back)) == (vars(error), digest(error))
    for name in ("errno", "filename", "start", "value", "code", "lineno", "name", "path"):
        assert getattr(back, name, None) == getattr(error, name, None)


def test_notes_cause_and_context_of_an_exception_come_along() -> None:
    caught: list[Exception] = []
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise CodeError("x", code=1) from first
    except CodeError as error:
        error.add_note("look there")
        caught.append(error)
    back = there_and_back(caught[0])
    assert back.__notes__ == ["look there"]
    assert (type(back.__cause__), back.__cause__.args) == (KeyError, ("first",))
    assert back.__context__ is back.__cause__
    assert back.__suppress_context__


def test_a_cause_that_cant_be_pickled_is_left_out_and_circles_end() -> None:
    error, other = ValueError("kept"), ValueError("other")
    error.__cause__ = RuntimeError(threading.Lock())
    error.__context__, other.__context__ = other, error
    back = there_and_back(error)
    assert back.__cause__ is None
    assert back.__context__.__context__ is back


class Unreadable:
    """Says that it is made of nothing."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return (Unreadable, ())


class MadeOfMore:
    """Has a ``__new__`` that pickle isn't told the arguments of."""

    __slots__ = ("value",)

    value: int

    def __new__(cls, value: int) -> MadeOfMore:
        made = super().__new__(cls)
        made.value = value
        return made


@pytest.mark.parametrize("cls", [MadeOfMore, Unreadable])
def test_what_does_not_lead_back_is_kept_by_its_attributes(cls: type[Any]) -> None:
    value = [cls(3)]
    kept = encode(value, digest=digest(value))
    assert decode(kept.codec, kept.data)[0].value == 3


def test_what_is_not_the_same_by_its_attributes_is_refused() -> None:
    with pytest.raises(SerializationError, match="Return what it was made from"):
        encode(Unreadable(3), digest=ANY)


def test_masked_arrays_come_back_with_the_mask_that_they_had() -> None:
    for made in (
        np.ma.masked_array([1, 2]),
        np.ma.masked_array([1, 2], [False, True], hard_mask=True),
        np.ma.masked_array([1, 2], hard_mask=True),
        np.ma.masked_array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.ma.masked_array(np.zeros(2, np.dtype("i4", metadata={"unit": "m"}))),
    ):
        back = there_and_back(made)

        assert digest(back) == digest(made)
        assert (back.mask is np.ma.nomask, back.hardmask) == (made.mask is np.ma.nomask, made.hardmask)
    assert there_and_back(np.ma.masked) is np.ma.masked


def test_a_view_of_bytes_is_a_view() -> None:
    back = there_and_back(memoryview(b"abc"))
    assert (type(back), bytes(back), back.readonly) == (memoryview, b"abc", True)
    back = there_and_back([memoryview(bytearray(range(24))).cast("B", (4, 6))])[0]
    assert (back.shape, back.format, back.readonly, back[1, 2]) == ((4, 6), "B", False, 8)


def test_a_class_of_a_function_has_its_name_where_it_is_read(tmp_path: Path) -> None:
    def make() -> type:
        class Local:
            pass

        return Local

    value = make()()
    (tmp_path / "value").write_bytes(bytes(encode(value, digest=ANY).data))
    script = (
        "import sys; from tensorlake_nb.store.codecs.codec import decode;"
        "print(type(decode('pickle', open(sys.argv[1], 'rb').read())).__qualname__)"
    )
    read = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "value"], capture_output=True, text=True, check=True
    )
    assert read.stdout.strip() == type(value).__qualname__
