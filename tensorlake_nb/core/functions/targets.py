"""Targets of outputs: those that a router answers with, and those that a `RouteTo` sends a value to."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Generic, TypeVar, overload

from tensorlake_nb.core.functions.element_types import T
from tensorlake_nb.core.functions.function import NodeLike, as_function

V = TypeVar("V")
N = TypeVar("N", bound=str)


def target_name(target: Any) -> str:
    """Return the node's name that a route names: of a Function, a TensorlakeCompute subclass, or the name itself."""
    return target if isinstance(target, str) else as_function(target).name


def target_names(targets: Any) -> tuple[str, ...]:
    """Return the names in a router's answer, each once: one target, a list, tuple or set of them, or None."""
    if targets is None:
        return ()
    several = targets if isinstance(targets, (list, tuple, set, frozenset)) else (targets,)
    return tuple(dict.fromkeys(target_name(target) for target in several if target is not None))


class RouteTo(Generic[V, N]):
    """A router's answer: a value, and the targets that it goes to.

    Parameters
    ----------
    value
        The function's output.
    targets
        Functions or their names: one, a list, or ``[]`` to end this branch. Kept as a tuple of names.

    Examples
    --------
    >>> @tensorlake_function
    ... def big(x: int) -> int:
    ...     return x
    >>> RouteTo(7, big)
    RouteTo(7, ('big',))
    """

    __slots__ = ("targets", "value")

    @overload
    def __init__(self, value: V, targets: N | Collection[N]) -> None: ...
    @overload
    def __init__(self: RouteTo[T, Any], value: T, targets: NodeLike | Collection[NodeLike] | None) -> None: ...
    def __init__(self, value: Any, targets: Any) -> None:
        self.value: V = value
        self.targets = target_names(targets)

    def __repr__(self) -> str:
        return f"RouteTo({self.value!r}, {self.targets!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RouteTo):
            return NotImplemented
        return bool(self.value == other.value) and self.targets == other.targets

    __hash__ = None  # type: ignore[assignment]


# as users import it, and as stored data names it, wherever the file lies
RouteTo.__module__ = "tensorlake_nb"
