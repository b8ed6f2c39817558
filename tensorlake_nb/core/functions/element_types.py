"""The types of a function's outputs, as type checkers see them. Nothing here runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, overload

from typing_extensions import ParamSpec, TypeVar

if TYPE_CHECKING:
    from tensorlake_nb.core.functions.targets import RouteTo

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
#: The parameters and the result of a function; ``Function`` alone is one of any.
P = ParamSpec("P", default=...)
R = TypeVar("R", covariant=True, default=Any)


class Gives(Protocol[T_co]):
    """A function whose outputs, as a graph sees them, are of one type."""

    def _element(self) -> T_co: ...


class Typed(Generic[P, R]):
    """Tells the type of an output from that of a call: an item of a list, of a generator, of what is awaited."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def _element(self: Typed[..., Coroutine[Any, Any, list[T] | None]]) -> T: ...
        @overload
        def _element(self: Typed[..., Coroutine[Any, Any, RouteTo[T, Any] | None]]) -> T: ...
        @overload
        def _element(self: Typed[..., Coroutine[Any, Any, T | None]]) -> T: ...
        @overload
        def _element(self: Typed[..., Iterator[RouteTo[T, Any]] | AsyncIterator[RouteTo[T, Any]]]) -> T: ...
        @overload
        def _element(self: Typed[..., Iterator[T] | AsyncIterator[T]]) -> T: ...
        @overload
        def _element(self: Typed[..., RouteTo[list[T], Any] | None]) -> T: ...
        @overload
        def _element(self: Typed[..., RouteTo[T, Any] | None]) -> T: ...
        @overload
        def _element(self: Typed[..., list[RouteTo[T, Any]] | None]) -> T: ...
        @overload
        def _element(self: Typed[..., list[T] | None]) -> T: ...
        @overload
        def _element(self: Typed[..., T | None]) -> T: ...
        def _element(self) -> Any: ...
