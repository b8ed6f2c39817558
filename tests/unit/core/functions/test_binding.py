# annotations here are evaluated; texts are given as texts
from collections import OrderedDict, namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, List, NamedTuple, NewType, Optional, TypedDict, Union  # noqa: UP035

import numpy as np
import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, RootModel, model_validator

from tensorlake_nb.core.functions.binding import Binder, check_inputs, describe, list_mode
from tensorlake_nb.core.functions.function import Function, tensorlake_function, tensorlake_router
from tensorlake_nb.core.functions.targets import RouteTo
from tensorlake_nb.errors import BindingError, InputError

# mypy: disable-error-code="no-untyped-def, type-arg, valid-type, name-defined, empty-body"


class Doc(BaseModel):
    title: str
    pages: int = 1


class Note(BaseModel):
    text: str


@dataclass
class Point:
    x: float
    y: float


@dataclass
class Signal:
    samples: np.ndarray


class Keys(TypedDict):
    a: int
    b: int


class Pair(NamedTuple):
    left: int
    right: int


class Rows(RootModel[list[int]]):
    pass


Row = NewType("Row", list)
Plain = namedtuple("Plain", "a b")


def taking(annotation: Any) -> Binder:
    """A function with one parameter, ``x``, so annotated."""

    def f(x): ...

    f.__annotations__["x"] = annotation
    return Binder(tensorlake_function()(f))


def call(function: Function, value: Any) -> Any:
    args, kwargs = Binder(function).bind(value)
    return function(*args, **kwargs)


@tensorlake_function()
def unannotated(x):
    return x


@tensorlake_function()
def two(a, b=2):
    return (a, b)


@tensorlake_function()
def with_rest(a, *rest):
    return (a, rest)


@tensorlake_function()
def with_names(a, **names):
    return (a, names)


@tensorlake_function()
def only_rest(*items):
    return items


@tensorlake_function()
def positional_only(a, b=2, /, c=3):
    return (a, b, c)


@tensorlake_function()
def keyword_only(*, a, b=2):
    return (a, b)


@tensorlake_function()
def rest_first(*items, sep=","):
    return (items, sep)


@tensorlake_function()
def no_parameters():
    return None


@pytest.mark.parametrize("value", [3, "abc", None, 2.5, b"x", {1, 2}, np.ones(2), Doc(title="t"), Point(1, 2)])
def test_a_lone_value_is_the_first_argument(value: Any) -> None:
    assert call(unannotated, value) is value
    assert call(two, value)[0] is value
    assert call(with_rest, value)[0] is value
    assert call(keyword_only, value)[0] is value


@pytest.mark.parametrize(
    ("function", "value", "result"),
    [
        (two, (1, 9), (1, 9)),
        (two, [1, 9], (1, 9)),
        (two, (1,), (1, 2)),
        (with_rest, (1, 2, 3), (1, (2, 3))),
        (only_rest, (1, 2, 3), (1, 2, 3)),
        (only_rest, [1, 2], (1, 2)),
        (only_rest, 5, (5,)),
        (rest_first, 5, ((5,), ",")),
        (rest_first, (5, 6), ((5, 6), ",")),
        (only_rest, {"k": 1}, ({"k": 1},)),
        (positional_only, (1, 5, 6), (1, 5, 6)),
        (no_parameters, (), None),
        (no_parameters, {}, None),
    ],
)
def test_tuples_and_inner_lists_bind_by_position(function: Function, value: Any, result: Any) -> None:
    assert call(function, value) == result


@pytest.mark.parametrize(
    ("function", "value", "result"),
    [
        (unannotated, {"x": 1}, 1),
        (two, {"b": 1, "a": 5}, (5, 1)),
        (two, OrderedDict(a=5), (5, 2)),
        (with_names, {"a": 1, "z": 3}, (1, {"z": 3})),
        (positional_only, {"a": 1, "c": 7}, (1, 2, 7)),
        (positional_only, {"a": 1, "b": 7}, (1, 7, 3)),
        (keyword_only, {"a": 1, "b": 7}, (1, 7)),
    ],
)
def test_dicts_bind_by_name(function: Function, value: Any, result: Any) -> None:
    assert call(function, value) == result


def test_a_defaulted_positional_only_parameter_can_be_skipped() -> None:
    @tensorlake_function()
    def f(a=1, b=2, /):
        return (a, b)

    assert call(f, {"b": 9}) == (1, 9)


WHOLE_LIST = [
    list,
    list[int],
    list[int],
    list,
    Sequence,
    Sequence[int],
    Iterable[int],
    Any,
    object,
    Optional[list[int]],  # noqa: UP045
]
WHOLE_LIST += [list[int] | None, int | list[int], Annotated[list[int], "doc"], Row, Rows, "list[int]", "List[int]"]
WHOLE_TUPLE = [
    tuple,
    tuple[int, int],
    tuple[int, ...],
    Sequence[int],
    Any,
    object,
    Pair,
    Optional[Pair],  # noqa: UP045
    "tuple[int, int]",
]
WHOLE_DICT = [
    dict,
    dict[str, int],
    dict[str, int],
    Mapping[str, int],
    Keys,
    Any,
    object,
    Optional[dict],  # noqa: UP045
    "dict[str, int]",
]


@pytest.mark.parametrize("annotation", WHOLE_LIST, ids=str)
def test_a_parameter_that_says_list_takes_an_inner_list_whole(annotation: Any) -> None:
    args, kwargs = taking(annotation).bind([1, 2])

    assert (list(*args) if annotation is not Rows else args[0].root, kwargs) == ([1, 2], {})


@pytest.mark.parametrize("annotation", WHOLE_TUPLE, ids=str)
def test_a_parameter_that_says_tuple_takes_a_tuple_whole(annotation: Any) -> None:
    assert taking(annotation).bind((1, 2)) == (((1, 2),), {})


@pytest.mark.parametrize("annotation", WHOLE_DICT, ids=str)
def test_a_parameter_that_says_dict_takes_a_dict_whole(annotation: Any) -> None:
    assert taking(annotation).bind({"a": 1, "b": 2}) == (({"a": 1, "b": 2},), {})


@pytest.mark.parametrize("annotation", [int, str, np.ndarray, set[int], Doc, list[int], "not_defined"], ids=str)
def test_other_parameters_take_a_tuple_apart(annotation: Any) -> None:
    if annotation == "not_defined":  # what nothing has defined says nothing, like no annotation
        assert taking(annotation).bind((1,)) == (((1,),), {})
    else:
        assert taking(annotation).bind((1,)) == ((1,), {})


def test_without_annotation_one_parameter_takes_lists_and_tuples_whole() -> None:
    assert call(unannotated, (1, 2)) == (1, 2)
    assert call(unannotated, [1, 2]) == [1, 2]


def test_a_parameter_beside_others_takes_nothing_whole() -> None:
    @tensorlake_function()
    def f(items: list[int], scale: float = 1.0):
        return (items, scale)

    assert call(f, [[1, 2], 3.0]) == ([1, 2], 3.0)


def test_a_dict_whose_keys_may_go_to_kwargs_binds_by_name() -> None:
    @tensorlake_function()
    def f(record: dict, **rest):
        return (record, rest)

    assert call(f, {"record": {}, "z": 1}) == ({}, {"z": 1})


@pytest.mark.parametrize(
    ("annotation", "value", "built"),
    [
        (Doc, {"title": "t"}, Doc(title="t")),
        (Doc | None, {"title": "t"}, Doc(title="t")),
        (Doc | Note, {"text": "t"}, Note(text="t")),
        (Union[Doc, Note], {"title": "t", "pages": 2}, Doc(title="t", pages=2)),  # noqa: UP007
        (Point, {"x": 1, "y": 2}, Point(1.0, 2.0)),
        (list[Doc], [{"title": "t"}, Doc(title="u")], [Doc(title="t"), Doc(title="u")]),
        (dict[str, Doc], {"k": {"title": "t"}}, {"k": Doc(title="t")}),
        (tuple[int, Doc], [1, {"title": "t"}], (1, Doc(title="t"))),
        (tuple[Doc, ...], ({"title": "t"},), (Doc(title="t"),)),
        (tuple[int, ...], [1, 2], (1, 2)),
        (list[tuple[int, int]], [[1, 2], [3, 4]], [(1, 2), (3, 4)]),
        (Pair, [1, 2], Pair(1, 2)),
        (Plain, (1, 2), Plain(1, 2)),
        (Rows, [1, 2], Rows([1, 2])),
        ("Doc", {"title": "t"}, Doc(title="t")),
    ],
    ids=str,
)
def test_records_are_built_from_plain_data(annotation: Any, value: Any, built: Any) -> None:
    ((bound,), _) = taking(annotation).bind(value)

    assert bound == built
    assert type(bound) is type(built)


@pytest.mark.parametrize("annotation", [dict, dict | Doc, Keys, dict[str, int]], ids=str)
def test_a_dict_that_may_be_a_dict_stays_one(annotation: Any) -> None:
    value = {"title": "t"}

    ((bound,), _) = taking(annotation).bind(value)

    assert bound is value


class Settings(BaseModel):
    a: int = 0
    deep: dict = {}


class Aliased(BaseModel):
    a: int = Field(0, alias="A")
    b: int = Field(0, validation_alias=AliasChoices("B", AliasPath("more", "b")))


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 0


class Prepared(BaseModel):
    a: int = 0

    @model_validator(mode="before")
    @classmethod
    def prepare(cls, value: Any) -> Any:
        return {"a": value["z"]} if "z" in value else value


class SameName(BaseModel):
    x: int = 0


@dataclass
class Options:
    a: int = 0


class Partial(TypedDict, total=False):
    a: int


@pytest.mark.parametrize(
    ("annotation", "value", "bound"),
    [
        (dict, {"x": {"a": 1}}, {"a": 1}),
        (dict, {"x": {}}, {}),
        (dict, {"x": 1}, {"x": 1}),
        (dict, {"x": {"a": 1}, "y": 2}, {"x": {"a": 1}, "y": 2}),
        (dict[str, int], {"x": {"a": 1}}, {"a": 1}),
        (dict[str, int], {"x": 1}, {"x": 1}),
        (dict[str, dict[str, int]], {"x": {"a": 1}}, {"x": {"a": 1}}),
        (Mapping[str, int], {"x": {"a": 1}}, {"a": 1}),
        (dict | None, {"x": {"a": 1}}, {"a": 1}),
        (dict | None, {"x": None}, None),
        (dict, {"x": None}, {"x": None}),
        (Any, {"x": 1}, 1),
        (Any, {"y": 1}, {"y": 1}),
        (Settings, {"x": {"a": 5}}, Settings(a=5)),
        (Settings, {"x": Settings(a=5)}, Settings(a=5)),
        (Settings, {"x": {}}, Settings()),
        (Settings, {"a": 5}, Settings(a=5)),
        (Settings, {}, Settings()),
        (Settings | None, {"x": {"a": 5}}, Settings(a=5)),
        (dict | Settings, {"z": 5}, {"z": 5}),
        (SameName, {"x": 5}, SameName(x=5)),
        (SameName, {"x": {"x": 5}}, SameName(x=5)),
        (Options, {"x": {"a": 5}}, Options(a=5)),
        (Partial, {"x": {"a": 5}}, {"a": 5}),
        (Partial, {"z": 5}, {"z": 5}),
        (Aliased, {"x": {"A": 5}}, Aliased.model_validate({"A": 5})),
        (Aliased, {"more": {"b": 5}}, Aliased.model_validate({"B": 5})),
        (Open, {"x": {"z": 5}}, Open.model_validate({"z": 5})),
        (Open, {"x": 5}, Open.model_validate({"x": 5})),
        (Prepared, {"z": 5}, Prepared(a=5)),
    ],
    ids=str,
)
def test_a_dict_that_names_the_parameter_binds_by_name_if_its_entry_fits(
    annotation: Any, value: Any, bound: Any
) -> None:
    args, kwargs = taking(annotation).bind(value)
    ((made),) = (*args, *kwargs.values())

    assert (made, type(made)) == (bound, type(bound))


def test_a_dict_that_names_the_parameter_binds_so_beside_what_is_bound_already() -> None:
    @tensorlake_function(accumulate=dict)
    def fold(total: dict, x: Settings):
        return (total, x)

    @tensorlake_function(inject_ctx=True)
    def told(ctx, x: dict = {}):  # noqa: B006 - as people write it
        return x

    @tensorlake_function()
    def named(*, x: dict):
        return x

    assert Binder(fold).bind({"x": {"a": 5}}) == ((), {"x": Settings(a=5)})
    assert Binder(told).bind({"x": {"a": 5}}) == ((), {"x": {"a": 5}})
    assert Binder(told).bind({}) == (({},), {})
    assert Binder(named).bind({"x": {"a": 5}}) == ((), {"x": {"a": 5}})


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Settings, {"z": 5}),
        (Settings, {"x": {"z": 5}}),
        (Settings | None, {"z": 5}),
        (Settings | Options, {"z": 5}),
        (Options, {"z": 5}),
        (Aliased, {"a": 5}),
        (list[Settings], [{"a": 5}, {"z": 5}]),
        (dict[str, Settings], {"k": {"z": 5}}),
    ],
    ids=str,
)
def test_a_record_is_not_made_of_a_dict_of_which_it_knows_no_key(annotation: Any, value: Any) -> None:
    with pytest.raises(BindingError, match=r"'x' can't be made of it: \w+ knows none of the keys .* It knows '[Aa]'"):
        taking(annotation).bind(value)


def test_nor_beside_other_parameters_nor_of_an_input() -> None:
    @tensorlake_function()
    def f(x: Settings, n: int = 0): ...

    with pytest.raises(BindingError, match=r"Settings knows none of the keys 'z'\. It knows 'a', 'deep'"):
        Binder(f).bind({"x": {"z": 5}})
    with pytest.raises(InputError, match=r"'x' is wrong: Settings knows none of the keys 'z'\. It knows 'a', 'deep'"):
        check_inputs(f, {"x": {"z": 5}})


def test_only_records_are_checked_nothing_else_is_converted() -> None:
    ((bound,), _) = taking(tuple[int, int]).bind(("1", 2.5))

    assert bound == ("1", 2.5)


def test_a_dataclass_that_pydantic_cannot_describe_is_built_by_calling_it() -> None:
    samples = np.arange(3)

    ((bound,), _) = taking(Signal).bind({"samples": samples})

    assert isinstance(bound, Signal)
    assert bound.samples is samples


def test_records_are_built_for_each_parameter() -> None:
    @tensorlake_function()
    def f(doc: Doc, at: Point, n: int = 0):
        return (doc, at, n)

    built = (Doc(title="t"), Point(1.0, 2.0), 0)
    assert call(f, {"doc": {"title": "t"}, "at": {"x": 1, "y": 2}}) == built
    assert call(f, ({"title": "t"}, {"x": 1, "y": 2})) == built
    args, kwargs = Binder(f).bind_row({"at": {"x": 1, "y": 2}, "doc": Doc(title="t")})
    assert f(*args, **kwargs) == built


def test_context_and_accumulator_are_left_to_the_caller() -> None:
    @tensorlake_function(accumulate=list, inject_ctx=True)
    def fold(ctx, total, x: int): ...

    binder = Binder(fold)

    assert list(binder.value_parameters) == ["x"]
    assert binder.bind(4) == ((4,), {})
    assert describe(fold) == "fold(x: int)"


@tensorlake_function
def by_name_only(**kw): ...


def test_a_key_that_names_the_context_is_no_value() -> None:
    @tensorlake_function(inject_ctx=True)
    def f(ctx, **values): ...

    with pytest.raises(BindingError, match="No parameter is called 'ctx'"):
        Binder(f).bind({"ctx": 1})


@pytest.mark.parametrize(
    ("function", "value", "said"),
    [
        (
            two,
            {"a": 1, "bb": 2},
            "two(a, b=2) can't take a dict with the keys 'a', 'bb'. No parameter is called 'bb' (did",
        ),
        (two, {}, "two(a, b=2) can't take an empty dict. Missing: 'a'."),
        (two, (1, 2, 3), "two(a, b=2) can't take a tuple of 3. At most 2 bind by position."),
        (two, (), "two(a, b=2) can't take a tuple of 0. Nothing is left for 'a'."),
        (unannotated, {"y": 1}, "Missing: 'x'. No parameter is called 'y'. To take the dict whole, annotate x: dict."),
        (no_parameters, 1, "no_parameters() can't take an int. It takes no value."),
        (
            by_name_only,
            1,
            "by_name_only(**kw) can't take an int. It takes values by name only. Return a dict of them, or ",
        ),
        (keyword_only, (1,), "keyword_only(*, a, b=2) can't take a tuple of 1. At most 0 bind by position."),
        (two, {1: 2, "a": 1}, "No parameter is called 1."),
    ],
)
def test_what_does_not_bind_is_told_with_the_parameters_and_what_to_do(
    function: Function, value: Any, said: str
) -> None:
    with pytest.raises(BindingError) as caught:
        Binder(function).bind(value)

    assert said in str(caught.value)


def test_a_value_that_leaves_parameters_empty_is_an_error() -> None:
    @tensorlake_function()
    def needs_two(a: int, b: int): ...

    with pytest.raises(BindingError) as caught:
        Binder(needs_two).bind(1)

    assert str(caught.value) == (
        "needs_two(a: int, b: int) can't take an int. Nothing is left for 'b'. "
        "Return a dict or a tuple with all of them."
    )


def test_a_tuple_for_one_plain_parameter_says_how_to_take_it_whole() -> None:
    with pytest.raises(BindingError, match=r"To take a tuple whole, annotate x: tuple\."):
        taking(int).bind((1, 2))


def test_a_record_that_cannot_be_built_says_which_field_without_the_data() -> None:
    with pytest.raises(BindingError) as caught:
        taking(Doc).bind({"title": "secret title", "pages": "many"})

    assert "Parameter 'x' can't be made of it: pages: input should be a valid integer" in str(caught.value)
    assert "secret title" not in str(caught.value)


def test_a_row_binds_by_name_whatever_the_annotations_say() -> None:
    @tensorlake_function()
    def f(config: dict, items: list): ...

    assert Binder(f).bind_row({"config": {"config": 1}, "items": [1]}) == ((), {"config": {"config": 1}, "items": [1]})


@pytest.mark.parametrize("annotation", [list, list[int], List[int], Sequence[int], Iterable[str], Optional[list[int]]])  # noqa: UP006, UP045
def test_a_sequence_annotation_takes_a_returned_list_whole(annotation: Any) -> None:
    assert taking(annotation).takes_list


@pytest.mark.parametrize(
    "annotation", [int, str, Any, object, tuple[int, int], int | list[int], dict, np.ndarray, Doc, set]
)
def test_other_annotations_map(annotation: Any) -> None:
    assert not taking(annotation).takes_list


def returning(annotation: Any, *, router: bool = False) -> Function:
    def parent(x): ...

    parent.__annotations__["return"] = annotation
    return tensorlake_router()(parent) if router else tensorlake_function()(parent)


@pytest.mark.parametrize(
    ("given", "wanted", "whole"),
    [
        (list[int], list[int], True),
        (list[int], Sequence[float], True),
        (list[str], Sequence[str], True),
        (list[str], Iterable[str], True),
        (list, list[int], True),
        (Any, list[int], True),
        (list[int] | None, list[int], True),
        (list[list[int]], list[int], False),
        (list[list[int]], list[list[int]], True),
        (list[list[int]], list, False),
        (list[list[int]], list[float], False),
        (list[list], list[int], False),
        (List[List[str]], Sequence[str], False),  # noqa: UP006
        (list[dict], Iterable[dict], True),
        (list[tuple[int, int]], tuple[int, int], False),
        (list[int], int, False),
        (list[int], Any, False),
        (RouteTo[list[int], Any], list[int], True),
        (RouteTo[list[list[int]], Any], list[int], False),
        ("list[int]", "list[int]", True),
    ],
    ids=str,
)
def test_a_list_is_taken_whole_unless_its_items_are_what_is_asked_for(given: Any, wanted: Any, whole: bool) -> None:
    assert list_mode(returning(given), taking(wanted).function) is whole


def test_a_generators_items_can_be_taken_whole_too() -> None:
    @tensorlake_function()
    def numbers(n: int) -> Iterator[int]:
        yield n

    @tensorlake_function()
    def lists(n: int) -> Iterator[list[int]]:
        yield [n]

    child = taking(list[int]).function
    assert list_mode(numbers, child)
    assert not list_mode(lists, child)


def test_a_joined_side_may_take_a_list_whole() -> None:
    @tensorlake_function()
    def join(items: list[int], name: str): ...

    assert list_mode(returning(list[int]), join, "items")
    assert not list_mode(returning(list[str]), join, "name")
    assert not list_mode(returning(list[int]), join)


@tensorlake_function()
def fetch(url: str, depth: int = 1): ...


def test_inputs_that_fit_are_returned() -> None:
    assert check_inputs(fetch, {"url": "u"}) == {"url": "u"}
    assert check_inputs(fetch, {"depth": 2, "url": "u"}) == {"depth": 2, "url": "u"}


def test_all_that_is_wrong_with_the_inputs_is_said_at_once() -> None:
    with pytest.raises(InputError) as caught:
        check_inputs(fetch, {"urls": "u", "depth": "deep"}, "pipeline")

    assert str(caught.value) == (
        "graph 'pipeline' starts with fetch(url: str, depth: int = 1): missing 'url'; "
        "unexpected 'urls' (did you mean 'url'?); 'depth' should be a valid integer (got 'deep')"
    )


@pytest.mark.parametrize(
    ("annotation", "value", "checked"),
    [
        (float, 3, 3.0),
        (int, 3, 3),
        (int, np.int64(3), 3),
        (tuple[int, int], [1, 2], (1, 2)),
        (list[int], (1, 2), [1, 2]),
        (Doc, {"title": "t"}, Doc(title="t")),
        (list[Doc], [{"title": "t"}], [Doc(title="t")]),
        (Point, {"x": 1, "y": 2}, Point(1.0, 2.0)),
        (Path, "a/b", Path("a/b")),
        (date, "2024-02-29", date(2024, 2, 29)),
        (int | None, None, None),
        (Any, object, object),
        ("not_defined", "anything", "anything"),
        ("list[int]", [1], [1]),
        (Iterable[int], [1, 2], [1, 2]),
    ],
    ids=str,
)
def test_inputs_are_converted_as_json_would(annotation: Any, value: Any, checked: Any) -> None:
    result = check_inputs(taking(annotation).function, {"x": value})

    assert result == {"x": checked}
    assert type(result["x"]) is type(checked)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "3"),
        (int, True),
        (int, 3.5),
        (str, 3),
        (bool, 1),
        (float, "3"),
        (list[int], ["1"]),
        (list[int], "12"),
        (tuple[int, int], [1, 2, 3]),
        (Doc, {"pages": 2}),
        (Doc, "t"),
        (np.ndarray, [1, 2]),
        (int, None),
        (int, float("nan")),
        (dict[str, int], {"a": "b"}),
    ],
    ids=str,
)
def test_inputs_of_another_kind_are_refused(annotation: Any, value: Any) -> None:
    with pytest.raises(InputError, match="'x' "):
        check_inputs(taking(annotation).function, {"x": value})


def test_a_class_that_json_has_no_form_for_is_asked_for_by_its_name() -> None:
    with pytest.raises(InputError, match=r"'x' should be an instance of ndarray \(got \[1, 2\]\)"):
        check_inputs(taking(np.ndarray).function, {"x": [1, 2]})


def test_an_array_passes_as_it_is() -> None:
    array = np.ones(3)

    assert check_inputs(taking(np.ndarray).function, {"x": array})["x"] is array


def test_extra_inputs_go_to_kwargs_only_where_there_are_any() -> None:
    assert check_inputs(with_names, {"a": 1, "z": 2}) == {"a": 1, "z": 2}
    with pytest.raises(InputError, match="unexpected 'rest'"):
        check_inputs(with_rest, {"a": 1, "rest": (1, 2)})


def test_context_and_accumulator_are_no_inputs() -> None:
    @tensorlake_function(accumulate=int, inject_ctx=True)
    def fold(ctx, total: int, x: int): ...

    assert check_inputs(fold, {"x": 1}) == {"x": 1}
    with pytest.raises(InputError, match="unexpected 'total'"):
        check_inputs(fold, {"x": 1, "total": 2})
