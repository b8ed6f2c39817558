"""Decorated functions: ordinary functions that also know their options.

A decorated function belongs to no graph. Graphs share it and never modify it.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar, Union, Unpack, overload
from weakref import WeakKeyDictionary

from tensorlake_nb.core.functions.callables import check_parameters, code_of, is_async, plain_callable, signature_of
from tensorlake_nb.core.functions.element_types import P, R, T, Typed
from tensorlake_nb.core.functions.options import (
    DEFAULTS,
    FunctionKeywords,
    FunctionOptions,
    check_option_names,
    is_target,
    read_options,
)
from tensorlake_nb.core.identifiers import checked_name
from tensorlake_nb.errors import OptionError, UsageError

K = TypeVar("K")
#: Attributes of graphs that a user may look for at a function.
_OF_GRAPHS = frozenset({"run", "start", "plan", "verify", "to_dask", "add_edge", "route"})
#: Functions are numbered as they are defined: a later one of the same place and name is a redefinition.
_definitions = itertools.count(1)
_class_definitions: WeakKeyDictionary[type, int] = WeakKeyDictionary()


class Function(Typed[P, R]):
    """A function with a name and options. Calling it calls the plain function.

    ``Function[P, R]`` has the parameters and the result of the plain function; ``Function`` alone is one of any.

    Made by :func:`tensorlake_function`, :func:`tensorlake_router` and :func:`as_function`. It hashes by identity, takes
    attributes of its own, passes other attributes on to the plain function, and stands in annotations (``a | b``).

    Attributes
    ----------
    name, description
        The name of its nodes; its description.
    call
        The plain function, or the class of a :class:`TensorlakeCompute`.
    options
        Its options for calls, retries, placement and storage.
    defined
        Grows with each definition in this process; 0 in another process.
    """

    # own fields are slots, so that functools.wraps(f) copies f's metadata but not its options
    __slots__ = ("__dict__", "__weakref__", "_router", "call", "defined", "description", "name", "options")
    __tensorlake_function__ = True

    call: Callable[..., Any]
    name: str
    description: str
    options: FunctionOptions
    defined: int

    def __init__(
        self, call: Callable[..., Any], name: str, description: str, options: FunctionOptions, *, router: bool = False
    ) -> None:
        functools.update_wrapper(self, call, updated=())  # attributes are passed on, not copied
        if isinstance(call, type):
            self.__dict__["__signature__"] = signature_of(call)
        elif isinstance(call, functools.partial):
            self.__dict__.update(__name__=name, __qualname__=name, __module__=call.func.__module__)
        self.call, self.name, self.description, self.options = call, name, description, options
        self._router = router
        self.defined = next(_definitions)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function; of a class, ``run`` of a new instance."""
        result: R = self.call().run(*args, **kwargs) if self.is_class else self.call(*args, **kwargs)
        return result

    def __getattr__(self, attribute: str) -> Any:
        if attribute in Function.__slots__:  # not filled yet, while it is being unpickled
            raise AttributeError(attribute)
        if attribute in _OF_GRAPHS and not hasattr(self.call, attribute):
            raise AttributeError(
                f"{self.name!r} is a decorated function, and {attribute} belongs to graphs. To call it here and now: "
                f"{self.name}(...). To run it: Graph({self.name!r}, {self.name}).{attribute}(...)"
            )
        return getattr(self.call, attribute)

    def __repr__(self) -> str:
        return f"<tensorlake {self.kind} {self.name!r}>"

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007 - this is what defines the operator

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        if _is_importable(self):
            return self.__qualname__
        fields = {slot: getattr(self, slot) for slot in ("_router", "call", "description", "name", "options")}
        return copyreg.__newobj__, (Function,), (self.__dict__, {**fields, "defined": 0})  # type: ignore[attr-defined]

    @property
    def kind(self) -> Literal["function", "router", "reducer"]:
        """``"router"``, ``"reducer"`` or ``"function"``."""
        return "router" if self._router else "reducer" if self.is_reducer else "function"

    @property
    def is_router(self) -> bool:
        return self._router

    @property
    def is_reducer(self) -> bool:
        return self.options.accumulate is not None

    @property
    def is_class(self) -> bool:
        return isinstance(self.call, type)

    @property
    def is_async(self) -> bool:
        """True for an ``async def``, generators included."""
        return is_async(self.code)

    @property
    def is_generator(self) -> bool:
        """True if the function yields its outputs, ``async`` or not."""
        return inspect.isgeneratorfunction(self.code) or inspect.isasyncgenfunction(self.code)

    @property
    def code(self) -> Callable[..., Any]:
        """The code called for each element: the plain function, or ``run`` of the class."""
        return code_of(self.call)

    @property
    def signature(self) -> inspect.Signature:
        """All parameters, context and accumulator included; of a class, those of ``run`` without ``self``."""
        return signature_of(self.call)

    @property
    def first_value(self) -> int:
        """The number of leading parameters that the engine fills: the context, the accumulator."""
        return int(self.options.inject_ctx) + int(self.is_reducer)


def _is_importable(function: Function) -> bool:
    """Return True if a worker finds this very object by name, as cloudpickle would ask of the plain function."""
    module = getattr(function, "__module__", None)
    if module is None or module == "__main__" or module not in sys.modules:
        return False
    pickler = sys.modules.get("cloudpickle")
    by_value: Iterable[str] = pickler.list_registry_pickle_by_value() if pickler else ()
    if any(module == name or module.startswith(f"{name}.") for name in by_value):
        return False
    found: Any = sys.modules[module]
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function


def _build(call: Any, router: bool, name: str | None, description: str | None, given: dict[str, Any]) -> Function:
    """Check what is decorated and how, and make a Function of it."""
    decorator = "tensorlake_router" if router else "tensorlake_function"
    call = plain_callable(decorator, call.call if isinstance(call, Function) else call)
    given_name = name or getattr(call, "__name__", None)
    owner = f"{decorator} {given_name!r}" if isinstance(given_name, str) else decorator
    if name is None and given_name in (None, "<lambda>"):
        raise OptionError(f"{decorator}: a lambda or a partial has no name of its own. Give name='...'.")
    checked = checked_name(f"{decorator}: name", given_name)
    options = read_options(owner, given, is_async=is_async(code_of(call)))
    if router and options.accumulate is not None:
        raise OptionError(f"{owner}: accumulate= isn't for routers. Fold in a function, and route its output.")
    check_parameters(owner, call, options)
    text = description or inspect.cleandoc(getattr(call, "__doc__", None) or "")
    if isinstance(call, functools.partial) and not description:
        text = inspect.cleandoc(call.func.__doc__ or "")
    return Function(call, checked, text, options, router=router)


if TYPE_CHECKING:

    class Router(Function[P, R]):
        """A function that answers with names: its outputs are its inputs."""

        def _element(self) -> Any: ...

    class Reducer(Function[P, R]):
        """A function whose last accumulator is its output, a list too."""

        @overload
        def _element(self: Reducer[..., Coroutine[Any, Any, T | None]]) -> T: ...
        @overload
        def _element(self: Reducer[..., T | None]) -> T: ...
        def _element(self) -> Any: ...

    class Decorator(Generic[K]):
        """A decorator that was given options; ``K`` says what it makes."""

        @overload
        def __call__(self: Decorator[Literal["function"]], function: type[TensorlakeCompute], /) -> Function: ...
        @overload
        def __call__(self: Decorator[Literal["function"]], function: Callable[P, R], /) -> Function[P, R]: ...
        @overload
        def __call__(self: Decorator[Literal["reducer"]], function: Callable[P, R], /) -> Reducer[P, R]: ...
        @overload
        def __call__(self: Decorator[Literal["router"]], function: Callable[P, R], /) -> Router[P, R]: ...
        def __call__(self, function: Any, /) -> Any: ...


@overload
def tensorlake_function(name: type[TensorlakeCompute], /) -> Function: ...
@overload
def tensorlake_function(name: Callable[P, R], /) -> Function[P, R]: ...
@overload
def tensorlake_function(
    name: str | None = None,
    description: str | None = None,
    *,
    accumulate: Callable[[], Any],
    combine: Callable[[Any, Any], Any] | None = None,
    **options: Unpack[FunctionKeywords],
) -> Decorator[Literal["reducer"]]: ...
@overload
def tensorlake_function(
    name: str | None = None,
    description: str | None = None,
    *,
    accumulate: None = None,
    combine: None = None,
    **options: Unpack[FunctionKeywords],
) -> Decorator[Literal["function"]]: ...
def tensorlake_function(
    name: str | Callable[..., Any] | None = None, description: str | None = None, **options: Any
) -> Any:
    """Make a function a durable step of graphs; bare or with options.

    A Function that is decorated again gets the new options instead of the old ones.

    Parameters
    ----------
    name, description
        The name of its node, by default the function's own; its description, by default the docstring.
    **options
        Those of :class:`~tensorlake_nb.core.functions.options.FunctionOptions`, and ``cpu`` (cores), ``memory`` and
        ``ephemeral_disk`` (gigabytes), ``gpu`` (``"MODEL:COUNT"``) and ``region``, which ask for a worker.

    Raises
    ------
    OptionError
        An option is unknown or has a wrong value, or the object can't be decorated.

    Examples
    --------
    >>> @tensorlake_function(timeout=60)
    ... def double(x: int) -> int:
    ...     return 2 * x
    >>> double(4)
    8
    """
    return _decorator("tensorlake_function", name, description, options)


@overload
def tensorlake_router(name: Callable[P, R], /) -> Router[P, R]: ...
@overload
def tensorlake_router(
    name: str | None = None, description: str | None = None, **options: Unpack[FunctionKeywords]
) -> Decorator[Literal["router"]]: ...
def tensorlake_router(
    name: str | Callable[..., Any] | None = None, description: str | None = None, **options: Any
) -> Any:
    """Make a function a router: it returns the next functions for its input, or their names: one, several or none.

    Options are those of :func:`tensorlake_function` but ``accumulate`` and ``combine``. Its routes are declared by
    names in its return annotation, by ``next=``, by ``graph.route`` or by edges. An annotation may also hold the
    functions themselves, as Tensorlake's ``List[Union[shout, whisper]]`` does; but type checkers refuse it, since a
    function is no type.

    Examples
    --------
    >>> @tensorlake_function
    ... def shout(text: str) -> str:
    ...     return text.upper()
    >>> @tensorlake_router
    ... def loud(text: str) -> list[Literal["shout"]]:
    ...     return ["shout"] if text.endswith("!") else []
    >>> @tensorlake_router(next=[shout])
    ... def long(text: str) -> Function | None:
    ...     return shout if len(text) > 80 else None
    """
    return _decorator("tensorlake_router", name, description, options)


def _decorator(decorator: str, name: Any, description: str | None, options: dict[str, Any]) -> Any:
    router = decorator == "tensorlake_router"
    if not options and description is None and (callable(name) or isinstance(name, staticmethod)):  # the bare form
        return _build(name, router, None, None, {})
    if name is not None:
        checked_name(f"{decorator}: name", name)
    if router and options.keys() & {"accumulate", "combine"}:
        raise OptionError(f"{decorator}: accumulate= isn't for routers. Fold in a function, and route its output.")
    check_option_names(decorator, options, (*DEFAULTS, "name", "description"))
    return functools.partial(_decorate, router=router, name=name, description=description, given=options)


def _decorate(call: Any, *, router: bool, name: Any, description: str | None, given: dict[str, Any]) -> Function:
    return _build(call, router, name, description, given)


class TensorlakeCompute:
    """A function that is a class: attributes are its options, ``__init__`` runs once per worker process.

    Derive from it, set the options as class attributes, and define ``run``. Use it to load a model once.

    Examples
    --------
    >>> class Tokenize(TensorlakeCompute):
    ...     memory = 4.0
    ...
    ...     def run(self, text: str) -> list[str]:
    ...         return text.split()
    """

    __tensorlake_compute__ = True

    name: str | None = None
    description: str | None = None
    accumulate: Any = DEFAULTS["accumulate"]
    combine: Any = DEFAULTS["combine"]
    next: Any = DEFAULTS["next"]
    inject_ctx: bool = DEFAULTS["inject_ctx"]
    retries: Any = DEFAULTS["retries"]
    timeout: float = DEFAULTS["timeout"]
    cpu: float = DEFAULTS["cpu"]
    memory: float = DEFAULTS["memory"]
    ephemeral_disk: float = DEFAULTS["ephemeral_disk"]
    gpu: Any = DEFAULTS["gpu"]
    region: str | None = DEFAULTS["region"]
    max_concurrency: int | None = DEFAULTS["max_concurrency"]
    secrets: Any = DEFAULTS["secrets"]
    cacheable: bool = DEFAULTS["cacheable"]
    version: str | None = DEFAULTS["version"]
    image: Any = DEFAULTS["image"]
    input_encoder: str = DEFAULTS["input_encoder"]
    output_encoder: str = DEFAULTS["output_encoder"]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _class_definitions[cls] = next(_definitions)
        if getattr(cls, "run", None) is not None:  # a base class of several functions may leave run to them
            _of_class(cls)


def _of_class(cls: Any) -> Function:
    owner = f"TensorlakeCompute {cls.__qualname__!r}"
    if getattr(cls, "run", None) is None:
        raise OptionError(f"{owner}: define run, the method that is called with each element.")
    required = [
        parameter.name
        for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        raise OptionError(f"{owner}: __init__ is called without arguments, so {', '.join(required)} needs a default.")
    given = {option: getattr(cls, option) for option in DEFAULTS}
    function = _build(cls, False, cls.name or None, cls.description or None, given)
    function.defined = _class_definitions.get(cls, 0)
    return function


def as_function(candidate: Any) -> Function:
    """Return the Function of a node: itself, or that of a TensorlakeCompute subclass.

    Raises
    ------
    UsageError
        For anything else; a plain function has to be decorated first.
    """
    if isinstance(candidate, Function):
        return candidate
    if isinstance(candidate, type) and is_target(candidate):
        return _of_class(candidate)
    if isinstance(candidate, TensorlakeCompute):
        raise UsageError(f"{type(candidate).__qualname__} stands here as an instance. Give the class itself.")
    name = getattr(candidate, "__qualname__", None) or f"{candidate!r:.60}"
    if isinstance(candidate, type):
        raise UsageError(f"{name} is a class that no graph can call. Derive it from TensorlakeCompute.")
    if inspect.isroutine(candidate):
        raise UsageError(f"{name} is a plain function. Decorate it with @tensorlake_function.")
    raise UsageError(f"{name} isn't a function. Give one decorated with @tensorlake_function.")


#: The code of a node: a decorated function, or a `TensorlakeCompute` subclass.
FunctionLike: TypeAlias = Function | type[TensorlakeCompute]
#: The name of a node: a function, a `TensorlakeCompute` subclass, or the name itself.
NodeLike: TypeAlias = FunctionLike | str


# as users import them, and as stored data names them, wherever the file lies
Function.__module__ = "tensorlake_nb"
TensorlakeCompute.__module__ = "tensorlake_nb"
