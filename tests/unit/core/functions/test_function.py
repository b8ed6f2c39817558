from __future__ import annotations

# mypy knows no functions in annotations
# mypy: disable-error-code="valid-type"
import copy
import functools
import inspect
import pickle
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, List, Optional, Union, get_args  # noqa: UP035

import cloudpickle
import pytest

from tensorlake_nb.core.functions.function import (
    Function,
    TensorlakeCompute,
    as_function,
    tensorlake_function,
    tensorlake_router,
)
from tensorlake_nb.core.functions.policy import Retries
from tensorlake_nb.core.functions.targets import RouteTo, target_names
from tensorlake_nb.errors import OptionError, UsageError


@tensorlake_function()
def add_one(x: int) -> int:
    """Add one.

    Nothing else.
    """
    return x + 1


@tensorlake_function
def bare(x: int) -> int:
    return x * 10


@tensorlake_function(accumulate=list)
def collect(total: list[int], x: int) -> list[int]:
    return [*total, x]


@tensorlake_router()
def choose(x: int) -> list[Any]:
    return [add_one]


class Scale(TensorlakeCompute):
    """Multiply by a factor that is loaded once."""

    memory = 2.5
    retries = Retries(max_retries=1)

    def __init__(self) -> None:
        super().__init__()
        self.factor = 3

    def run(self, x: int) -> int:
        return x * self.factor


def test_calling_a_decorated_function_calls_the_plain_one() -> None:
    assert add_one(3) == 4
    assert bare(x=3) == 30
    assert collect([1], 2) == [1, 2]


def test_the_plain_functions_metadata_shows_through() -> None:
    assert add_one.__name__ == "add_one"
    assert add_one.__doc__ == add_one.call.__doc__
    assert inspect.getdoc(add_one) == "Add one.\n\nNothing else."
    assert add_one.__module__ == __name__
    assert inspect.signature(add_one) == inspect.signature(add_one.call)
    assert "return x + 1" in inspect.getsource(add_one)
    assert add_one.__code__ is add_one.call.__code__


def test_name_and_description_come_from_the_function_unless_given() -> None:
    named = tensorlake_function(name="plus", description="one more")(add_one.call)

    assert (add_one.name, add_one.description) == ("add_one", "Add one.\n\nNothing else.")
    assert (named.name, named.description) == ("plus", "one more")


def test_a_decorated_function_takes_attributes_and_passes_those_of_the_plain_one() -> None:
    def plain(x: int) -> int:
        return x

    plain.unit = "m"  # type: ignore[attr-defined]
    function = tensorlake_function(plain)
    plain.later = "set afterwards"  # type: ignore[attr-defined]
    function.note = "mine"  # type: ignore[attr-defined]

    assert (function.unit, function.later, function.note) == ("m", "set afterwards", "mine")
    assert not hasattr(plain, "note")
    with pytest.raises(AttributeError):
        _ = function.nothing_of_the_kind


def test_a_decorated_function_hashes_and_stands_in_unions() -> None:
    assert len({add_one, bare, add_one}) == 2
    assert get_args(add_one | bare) == (add_one, bare)
    assert get_args(Union[add_one, bare]) == (add_one, bare)  # noqa: UP007
    assert get_args(Optional[add_one]) == (add_one, type(None))  # noqa: UP045
    assert get_args(None | add_one) == (type(None), add_one)
    assert get_args(Scale | add_one) == (Scale, add_one)
    assert get_args(List[Union[add_one, bare]])[0] == Union[add_one, bare]  # noqa: UP006, UP007


def test_what_kind_of_function_it_is_can_be_asked() -> None:
    async def waits(x: int) -> int:
        return x

    def streams(x: int) -> Iterator[int]:
        yield x

    async def streams_and_waits(x: int) -> AsyncIterator[int]:
        yield x

    kinds = [tensorlake_function()(f) for f in (waits, streams, streams_and_waits)]

    assert [(f.is_async, f.is_generator) for f in kinds] == [(True, False), (False, True), (True, True)]
    assert (choose.is_router, choose.is_reducer, choose.kind) == (True, False, "router")
    assert (collect.is_router, collect.is_reducer, collect.kind) == (False, True, "reducer")
    assert (add_one.is_class, as_function(Scale).is_class) == (False, True)
    assert add_one.__tensorlake_function__ is True
    assert isinstance(add_one, Function)


def test_an_async_function_is_bounded_even_if_it_does_not_say() -> None:
    async def waits(x: int) -> int:
        return x

    assert tensorlake_function()(waits).options.max_concurrency == 10
    assert tensorlake_function(max_concurrency=3)(waits).options.max_concurrency == 3
    assert add_one.options.max_concurrency is None


def test_options_have_tensorlakes_defaults() -> None:
    options = add_one.options

    assert (options.timeout, options.cacheable, options.inject_ctx, options.secrets) == (300.0, True, False, ())
    assert (options.input_encoder, options.output_encoder) == ("cloudpickle", "cloudpickle")
    assert (options.placement.cpu, options.placement.memory, options.placement.ephemeral_disk) == (1.0, 1.0, 2.0)
    assert options.plain() == {}


def test_options_that_were_set_are_plain_data() -> None:
    function = tensorlake_function(
        next=[add_one, "later"], retries=Retries(max_retries=2), gpu="T4", secrets=["KEY"], accumulate=list
    )(lambda_free)

    assert function.options.plain() == {
        "accumulate": "list",
        "next": ["add_one", "later"],
        "retries": {
            "max_retries": 2,
            "initial_delay": 1.0,
            "max_delay": 60.0,
            "delay_multiplier": 2.0,
            "jitter": 0.1,
        },
        "gpu": "T4:1",
        "secrets": ["KEY"],
    }


def lambda_free(total: list[int], x: int) -> list[int]:
    return total


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": 0}, "timeout=0 isn't allowed. Give a number of seconds, above 0."),
        ({"timeout": None}, "timeout=None isn't allowed."),
        ({"max_concurrency": 0}, "max_concurrency=0 isn't allowed. Give a whole number, 1 or more."),
        ({"max_concurrency": 2.0}, "max_concurrency=2.0 isn't allowed."),
        ({"memory": -1}, "memory=-1 isn't allowed."),
        ({"input_encoder": "pickle"}, 'input_encoder=\'pickle\' isn\'t allowed. Give "json" or "cloudpickle".'),
        ({"retries": "3"}, "retries='3' isn't allowed. Give how many, or Retries(max_retries=...)"),
        ({"secrets": "API_KEY"}, "secrets= takes a list of names of environment variables"),
        ({"secrets": ["API-KEY"]}, "secrets= takes a list of names of environment variables"),
        ({"inject_ctx": 1}, "inject_ctx=1 isn't allowed. Give True or False."),
        ({"accumulate": 0}, "accumulate=0 isn't allowed. Give what makes the first accumulator"),
        ({"combine": max}, "It merges accumulators, so it needs accumulate= as well."),
        ({"accumulate": list, "combine": 1}, "combine=1 isn't allowed."),
        ({"next": [print]}, "next= can't hold print."),
        ({"version": "a/b"}, "version 'a/b' isn't allowed."),
        ({"name": "a b"}, "name 'a b' isn't allowed."),
        ({"name": "x" * 201}, "has 201 characters"),
        ({"time_out": 5}, "there is no option 'time_out' (did you mean 'timeout'?)"),
        ({"accumulate": list}, "accumulate= makes it a reducer, which takes (accumulator, element)."),
    ],
)
def test_a_bad_option_is_refused_when_the_function_is_decorated(options: dict[str, Any], said: str) -> None:
    def plain(x: int) -> int:
        return x

    with pytest.raises(OptionError) as caught:
        tensorlake_function(**options)(plain)

    assert said in str(caught.value)


def test_a_secret_given_by_mistake_is_not_repeated() -> None:
    with pytest.raises(OptionError) as caught:
        tensorlake_function(secrets=["hunter2 is my password"])(add_one.call)

    assert "hunter2" not in str(caught.value)


def test_the_context_needs_a_parameter() -> None:
    with pytest.raises(OptionError, match="inject_ctx=True needs a first parameter"):
        tensorlake_function(inject_ctx=True)(lambda_without_parameters)


def lambda_without_parameters() -> None: ...


def test_a_router_folds_nothing() -> None:
    with pytest.raises(OptionError, match="accumulate= isn't for routers"):
        tensorlake_router(accumulate=list)(add_one.call)  # type: ignore[call-overload]


class Counter:
    def count(self, x: int) -> int:
        return x


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda x: x, "a lambda or a partial has no name of its own. Give name='...'."),
        (functools.partial(max, 1), "a lambda or a partial has no name of its own."),
        (Counter, "Counter is a class. Derive it from TensorlakeCompute instead."),
        (Counter().count, "a method can't be decorated."),
        (Counter.count, "takes 'self' first, as methods do. Rename that parameter if it is a function"),
        (classmethod(print), "a method can't be decorated."),
        (42, "int 42 isn't a function."),
        (Counter(), "isn't a function. Wrap it in one."),
        (max, "its parameters can't be read. Wrap it in a function of your own."),
        (type, "type is a class."),
    ],
)
def test_what_cannot_be_decorated_is_told_what_to_do_instead(what: Any, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        tensorlake_function()(what)

    assert said in str(caught.value)


def test_a_name_that_cant_be_one_is_refused_before_there_is_a_function() -> None:
    decorate: Any = tensorlake_function

    with pytest.raises(OptionError, match="tensorlake_function: name 5 isn't allowed"):
        decorate(5)


def test_lambdas_partials_builtins_and_static_methods_can_be_decorated_under_a_name() -> None:
    double = tensorlake_function(name="double")(lambda x: 2 * x)
    power = tensorlake_function(name="power")(functools.partial(pow, exp=3))
    length = tensorlake_function()(len)
    static = tensorlake_function()(staticmethod(lambda_without_parameters))

    assert (double(4), double.name) == (8, "double")
    assert (power(2), power.name, power.__name__) == (8, "power", "power")
    assert (length([1, 2]), length.name) == (2, "len")
    assert static.name == "lambda_without_parameters"


def test_decorating_again_replaces_the_options() -> None:
    again = tensorlake_function(timeout=5)(tensorlake_function(cacheable=False)(add_one.call))

    assert (again.options.timeout, again.options.cacheable) == (5.0, True)
    assert again.call is add_one.call


def test_wraps_on_top_of_a_decorated_function_gives_a_plain_function() -> None:
    @functools.wraps(add_one)
    def louder(x: int) -> int:
        return int(add_one(x)) * 100

    decorated = tensorlake_function(timeout=7)(louder)

    assert louder.__name__ == "add_one"
    assert not getattr(louder, "__tensorlake_function__", False)
    assert "options" not in vars(louder)
    assert decorated(1) == 200
    assert decorated.options.timeout == 7.0


def test_a_class_is_a_function_with_its_attributes_as_options() -> None:
    function = as_function(Scale)

    assert (function.name, function.description) == ("Scale", "Multiply by a factor that is loaded once.")
    assert (function.options.placement.memory, function.options.retries) == (2.5, Retries(max_retries=1))
    assert list(function.signature.parameters) == ["x"]
    assert list(inspect.signature(function).parameters) == ["x"]
    assert function(5) == 15


def test_options_of_a_class_are_checked_when_it_is_defined() -> None:
    with pytest.raises(OptionError, match=r"timeout=-1 isn't allowed"):

        class Broken(TensorlakeCompute):
            timeout = -1

            def run(self, x: int) -> int:
                return x


def test_a_class_that_cannot_be_made_without_arguments_is_refused() -> None:
    with pytest.raises(OptionError, match="__init__ is called without arguments, so path needs a default"):

        class Broken(TensorlakeCompute):
            def __init__(self, path: str) -> None:
                self.path = path

            def run(self, x: int) -> int:
                return x


def test_a_base_class_without_run_may_be_derived_from_but_not_used() -> None:
    class Base(TensorlakeCompute):
        timeout = 9

    class Derived(Base):
        def run(self, x: int) -> int:
            return x

    assert as_function(Derived).options.timeout == 9.0
    with pytest.raises(OptionError, match="define run"):
        as_function(Base)


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (len, "len is a plain function. Decorate it with @tensorlake_function."),
        (Counter, "Counter is a class that no graph can call."),
        (Scale(), "Scale stands here as an instance. Give the class itself."),
        (7, "7 isn't a function."),
        (TensorlakeCompute, "TensorlakeCompute is a class that no graph can call."),
    ],
)
def test_only_decorated_functions_are_functions(candidate: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        as_function(candidate)

    assert said in str(caught.value)


def test_a_copy_of_a_function_is_the_function() -> None:
    assert copy.copy(add_one) is add_one
    assert copy.deepcopy([add_one])[0] is add_one


def test_a_function_of_an_importable_module_is_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(add_one)) is add_one


def test_a_function_of_a_module_that_is_pickled_by_value_goes_by_value() -> None:
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        back = cloudpickle.loads(cloudpickle.dumps(add_one))
    finally:
        cloudpickle.unregister_pickle_by_value(module)

    assert back is not add_one
    assert (back(3), back.name, back.options.timeout, back.defined) == (4, "add_one", 300.0, 0)


IN_MAIN = """
    import sys, cloudpickle
    from tensorlake_nb import tensorlake_function, tensorlake_router, TensorlakeCompute
    from tensorlake_nb.core.functions.function import as_function

    @tensorlake_function(timeout=5, secrets=["KEY"])
    def double(x: int) -> int:
        return 2 * x

    @tensorlake_function()
    def countdown(x: int) -> int:
        return 0 if x == 0 else double(0) + countdown(x - 1)

    @tensorlake_router()
    def route(x: int) -> double | countdown:
        return double

    class Times(TensorlakeCompute):
        def run(self, x: int) -> int:
            return double(x) * 3

    countdown.note = "mine"
    sys.stdout.buffer.write(cloudpickle.dumps([double, countdown, route, as_function(Times), double]))
"""


def test_functions_of_a_notebook_travel_to_a_process_that_has_not_seen_them() -> None:
    sent = subprocess.run([sys.executable, "-c", textwrap.dedent(IN_MAIN)], capture_output=True, check=True).stdout

    double, countdown, route, times, same = cloudpickle.loads(sent)

    assert (double(4), double.name, double.options.timeout, double.options.secrets) == (8, "double", 5.0, ("KEY",))
    assert (countdown(3), countdown.note) == (0, "mine")
    assert target_names(route(1)) == ("double",)
    assert times(2) == 12
    assert same is double


def test_a_router_may_answer_with_one_several_or_none() -> None:
    assert target_names(add_one) == ("add_one",)
    assert target_names([add_one, "bare", Scale, add_one]) == ("add_one", "bare", "Scale")
    assert target_names(None) == ()
    assert target_names([]) == ()
    with pytest.raises(UsageError, match="len is a plain function"):
        target_names([len])


def test_a_routed_value_keeps_the_names_of_its_targets() -> None:
    routed: RouteTo[int, Any] = RouteTo(3, [add_one, "bare"])

    assert (routed.value, routed.targets) == (3, ("add_one", "bare"))
    assert RouteTo(3, []).targets == ()
    assert pickle.loads(pickle.dumps(routed)) == routed


def test_later_definitions_have_higher_numbers() -> None:
    def make() -> Callable[[int], int]:
        def same(x: int) -> int:
            return x

        return same

    first, second = tensorlake_function(make()), tensorlake_function(make())

    assert first.defined < second.defined
    assert as_function(Scale).defined == as_function(Scale).defined
