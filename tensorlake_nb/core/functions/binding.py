"""One output → the arguments of one call, and the message when it can't be.

========================  ==============================================================================
value                     how it binds
========================  ==============================================================================
dict                      by name; keys that match none go to ``**kwargs``, if there is one
tuple, inner list         by position; ``*args`` takes the rest
anything else             the first parameter
========================  ==============================================================================

A *single* value parameter (no ``*args``, and for dicts no ``**kwargs``) takes a container whole when its annotation
says so: ``list[...]`` a list, ``tuple[...]`` a tuple, ``Sequence`` both, ``dict``, a TypedDict, a dataclass or a
pydantic model a dict, ``Any`` and ``object`` everything. Without an annotation it takes lists and tuples whole, and
dicts by name. A dict whose only key is the parameter's name binds by name also there, if its entry fits the annotation:
``{"x": {"a": 1}}`` gives ``f(x: dict)`` the inner dict, ``{"x": 1}`` and ``{"a": 1}`` are taken whole. Records are
built from dicts wherever a parameter is annotated with them, and never from a dict of which they know no key; a list
given for a ``tuple[...]`` (JSON knows no tuples) is made one. Context and accumulator come before all this: the
caller puts them in front.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter
from types import MappingProxyType
from typing import Any

from tensorlake_nb.core.functions.annotations import EMPTY, alternatives, is_known, parameter_hints
from tensorlake_nb.core.functions.conversion import BuildError, conform, conformer, record_builder
from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.core.functions.type_matching import class_of, element_hint, fits, gathers, output_hint, takes
from tensorlake_nb.core.identifiers import did_you_mean, listed
from tensorlake_nb.errors import BindingError, InputError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def describe(function: Function) -> str:
    """Return ``name(parameters)`` for a message, without context and accumulator."""
    shown: list[str] = []
    parameters = list(function.signature.parameters.values())[function.first_value :]
    keyword_only = False
    for parameter in parameters:
        keyword_only |= parameter.kind is Parameter.VAR_POSITIONAL
        if parameter.kind is Parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            shown.append("*")
        text = parameter.annotation if isinstance(parameter.annotation, str) else None
        shown.append(str(parameter) if text is None else str(parameter).replace(repr(text), text, 1))
    return f"{function.name}({', '.join(shown)})"


class Binder:
    """The binding rules of one function, worked out once.

    Attributes
    ----------
    value_parameters
        Parameters that values are bound to, by name: all but context and accumulator.
    hints
        Their annotations, resolved; those without one are missing.
    required
        Names of those that need a value, in order.
    single
        The only parameter that takes a value, if there is only one and no ``*args``.
    """

    def __init__(self, function: Function) -> None:
        parameters = list(function.signature.parameters.values())
        self.function = function
        self._reserved = frozenset(parameter.name for parameter in parameters[: function.first_value])
        values = [
            parameter
            for position, parameter in enumerate(parameters)
            if position >= function.first_value or parameter.kind is Parameter.VAR_POSITIONAL
        ]
        self.value_parameters: Mapping[str, Parameter] = MappingProxyType({p.name: p for p in values})
        hints = parameter_hints(function)
        self.hints: Mapping[str, Any] = MappingProxyType(
            {name: hints[name] for name in hints if name in self.value_parameters}
        )
        self._named = {p.name: p for p in values if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        self._positional = tuple(p.name for p in self._named.values() if p.kind is not p.KEYWORD_ONLY)
        self._positional_only = tuple(p.name for p in self._named.values() if p.kind is p.POSITIONAL_ONLY)
        self._extra_positions = any(p.kind is p.VAR_POSITIONAL for p in values)
        self._extra_names = any(p.kind is p.VAR_KEYWORD for p in values)
        self.required = tuple(name for name, p in self._named.items() if p.default is p.empty)
        self.single = next(iter(self._named)) if len(self._named) == 1 and not self._extra_positions else None
        leading = self._positional if self._extra_positions else self._named  # f(*items, sep) puts a value into items
        self._first = next(iter(leading), None)
        self._first_by_name = self._first is not None and self._first not in self._positional
        self._whole = self._taken_whole()
        builders = ((name, record_builder(hint)) for name, hint in self.hints.items())
        self._builders = {name: build for name, build in builders if build is not None}
        self._entry = conformer(self.hints.get(self.single or "", EMPTY))
        self.takes_lone = (self._first is not None or self._extra_positions) and set(self.required) <= {self._first}
        self._at_once = self.takes_lone and not self._first_by_name

    def _taken_whole(self) -> tuple[type, ...]:
        """Containers that go to one parameter as they are."""
        if self.single is None:  # f(*items) has no name that a dict could mean
            return (dict,) if self._extra_positions and not self._named and not self._extra_names else ()
        hint = self.hints.get(self.single, EMPTY)
        if not is_known(hint):
            containers = [list, tuple] if hint is EMPTY or not takes(hint, dict) else [list, tuple, dict]
        else:
            containers = [container for container in (list, tuple, dict) if takes(hint, container)]
            if tuple in containers and list not in containers:  # JSON makes lists of tuples
                containers.append(list)
        return tuple(container for container in containers if container is not dict or not self._extra_names)

    @property
    def takes_list(self) -> bool:
        """True if the call takes a parent's whole list, not one item."""
        return self.single is not None and gathers(self.hints.get(self.single, EMPTY))

    def takes_whole(self, container: type) -> bool:
        """Tell whether its single parameter takes a ``list``, ``tuple`` or ``dict`` as it is."""
        return container in self._whole

    def fits_positions(self, count: int) -> bool:
        """Tell whether so many values can be bound by position."""
        given = self._positional[:count]
        return (count <= len(self._positional) or self._extra_positions) and set(self.required) <= set(given)

    def accepts(self, name: str) -> bool:
        """Tell whether a value can be given by this name."""
        return name in self._named or (self._extra_names and name not in self._reserved)

    def bind(self, value: Any) -> Arguments:
        """Return the arguments of the call with one value.

        Raises
        ------
        BindingError
            When the value doesn't fit the parameters; the message names both and says what to do.
        """
        if not isinstance(value, (dict, list, tuple)):
            return ((value,), {}) if self._at_once else self._bind_lone(value)
        if isinstance(value, self._whole):
            if isinstance(value, dict) and len(value) == 1 and self.single in value:
                return self._bind_named_or_whole(value)
            return self._bind_whole(value)
        return self._bind_names(value) if isinstance(value, dict) else self._bind_positions(value)

    def _bind_named_or_whole(self, value: dict[Any, Any]) -> Arguments:
        """Bind a dict whose only key is the name of the only parameter, which takes dicts whole as well."""
        assert self.single is not None
        try:
            self._entry(value[self.single])
        except BuildError as error:
            misfit = str(error)
        else:
            return self._bind_names(value)
        try:
            return self._bind_whole(value)
        except BindingError as error:
            raise BindingError(f"{error} Nor does what it holds bind by name: {self.single!r} {misfit}.") from None

    def _bind_whole(self, value: Any) -> Arguments:
        return self._bind_lone(self._built(self._first, value) if self._first in self._builders else value)

    def bind_row(self, row: Mapping[str, Any]) -> Arguments:
        """Return the arguments of the call with values by name: a run's inputs, or the sides of a join."""
        return self._bind_names(row)

    def _bind_lone(self, value: Any) -> Arguments:
        if not self.takes_lone:
            if not self.value_parameters:
                raise self._misfit(value, "It takes no value. Give it a parameter, or remove the edge.")
            missing = [name for name in self.required if name != self._first]
            if not missing:
                raise self._misfit(value, "It takes values by name only. Return a dict of them, or name a parameter.")
            raise self._misfit(
                value, f"Nothing is left for {listed(missing)}. Return a dict or a tuple with all of them."
            )
        if self._first_by_name:
            assert self._first is not None
            return (), {self._first: value}
        return (value,), {}

    def _bind_positions(self, values: list[Any] | tuple[Any, ...]) -> Arguments:
        if len(values) > len(self._positional) and not self._extra_positions:
            advice = f"At most {len(self._positional)} bind by position."
            if self.single is not None:
                kind = "a list" if isinstance(values, list) else "a tuple"
                advice += f" To take {kind} whole, annotate {self.single}: {type(values).__name__}."
            raise self._misfit(values, advice)
        given = self._positional[: len(values)]
        missing = [name for name in self.required if name not in given]
        if missing:
            raise self._misfit(values, f"Nothing is left for {listed(missing)}.")
        arguments = tuple(values)
        if self._builders:
            built = [self._built(name, value) for name, value in zip(given, values, strict=False)]
            arguments = (*built, *values[len(given) :])
        return arguments, {}

    def _bind_names(self, values: Mapping[str, Any]) -> Arguments:
        unknown = [name for name in values if not isinstance(name, str) or not self.accepts(name)]
        missing = [name for name in self.required if name not in values]
        if unknown or missing:
            raise self._misfit(values, self._names_advice(unknown, missing))
        named = {name: self._built(name, value) if name in self._builders else value for name, value in values.items()}
        leading: list[Any] = []
        for position, name in enumerate(self._positional_only):
            if name in named:
                leading.append(named.pop(name))
            elif any(later in named for later in self._positional_only[position:]):
                leading.append(self._named[name].default)
        return tuple(leading), named

    def _names_advice(self, unknown: list[Any], missing: list[str]) -> str:
        said: list[str] = []
        if missing:
            said.append(f"Missing: {listed(missing)}.")
        for name in unknown:
            said.append(f"No parameter is called {name!r:.40}{did_you_mean(str(name), self._named)}.")
        if self.single is not None:
            said.append(f"To take the dict whole, annotate {self.single}: dict.")
        elif unknown and not self._extra_names:
            said.append("To take any key, add **kwargs.")
        return " ".join(said)

    def _built(self, name: str | None, value: Any) -> Any:
        build: Callable[[Any], Any] | None = self._builders.get(name) if name is not None else None
        if build is None or not isinstance(value, (dict, list, tuple)):
            return value
        try:
            return build(value)
        except BuildError as error:
            raise self._misfit(value, f"Parameter {name!r} can't be made of it: {error}.") from None

    def _misfit(self, value: Any, advice: str) -> BindingError:
        return BindingError(f"{describe(self.function)} can't take {_what(value)}. {advice}")


def _what(value: Any) -> str:
    """Say what came, without quoting data: its type, its length, its keys."""
    if isinstance(value, Mapping):
        keys = ", ".join(f"{key!r:.30}" for key in list(value)[:6])
        return f"a dict with the keys {keys}{', …' if len(value) > 6 else ''}" if value else "an empty dict"
    if isinstance(value, (list, tuple)):
        return f"{'a list' if isinstance(value, list) else 'a tuple'} of {len(value)}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


#: `conformed`'s texts for missing inputs, and for those without a parameter.
MISSING, UNEXPECTED = "missing", "unexpected"


def conformed(function: Function, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Read inputs as their annotations mean them: those that fit, and for each other name what is wrong with it."""
    binder = Binder(function)
    checked: dict[str, Any] = {}
    wrong = {name: MISSING for name in binder.required if name not in inputs}
    for name, value in inputs.items():
        if not binder.accepts(name):
            wrong[name] = f"{UNEXPECTED}{did_you_mean(name, binder.value_parameters)}"
            continue
        try:
            checked[name] = conform(value, binder.hints.get(name, EMPTY))
        except BuildError as error:
            wrong[name] = str(error)
    return checked, wrong


def check_inputs(function: Function, inputs: Mapping[str, Any], graph: str | None = None) -> dict[str, Any]:
    """Check a run's inputs against its start function; return them as their annotations mean them.

    A value's JSON form is as good as the value: a dict for a model, a list for a tuple, a text for a path
    or a date, a whole number for a float. Nothing else is converted: neither ``"3"`` nor ``True`` is an int. Parameters
    without an annotation, or with one that nothing has defined, take anything. Defaults are left to the function.

    Parameters
    ----------
    function
        The start function; context and accumulator are no inputs.
    inputs
        Values by parameter name.
    graph
        Name of the graph, for the message.

    Raises
    ------
    InputError
        When a name is missing or unknown or a value doesn't validate; one message says it all.
    """
    checked, wrong = conformed(function, inputs)
    missing = [name for name, problem in wrong.items() if problem == MISSING]
    problems = [f"missing {listed(missing)}"] if missing else []
    for name, problem in wrong.items():
        if problem.startswith(UNEXPECTED):
            problems.append(problem.replace(UNEXPECTED, f"{UNEXPECTED} {name!r}", 1))
        elif problem != MISSING:
            problems.append(f"{name!r} {problem}")
    if problems:
        where = f"graph {graph!r} starts with" if graph else "the start function is"
        raise InputError(f"{where} {describe(function)}: {'; '.join(problems)}")
    return checked


def list_mode(parent: Function, child: Function, into: str | None = None) -> bool:
    """Tell whether the child takes the list that the parent returns whole, instead of being called per item.

    It does when its single value parameter (for a join: the parameter ``into``) is annotated with a sequence, unless
    the parent is annotated ``list[X]`` and X is itself what the parameter asks for: then it maps.
    """
    binder = Binder(child)
    name = into if into is not None else binder.single
    wanted = binder.hints.get(name, EMPTY) if name is not None else EMPTY
    if not gathers(wanted):
        return False
    given = output_hint(parent)
    if given is EMPTY or not any(_is_list(option) for option in alternatives(given)):
        return True
    item = element_hint(given)
    item_fits = fits(item, wanted)
    return not (item_fits or (item_fits is None and fits(given, wanted) is False))


def _is_list(option: Any) -> bool:
    cls = class_of(option)
    return cls is not None and issubclass(cls, list)
