"""Turn a call's return value into encoded outputs, each with its targets."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from io import IOBase
from typing import Any

from tensorlake_nb.core.batches.batch import BARE, Call
from tensorlake_nb.core.batches.output_columns import Routes, Targets
from tensorlake_nb.core.functions.targets import RouteTo, target_names
from tensorlake_nb.core.keys import TaskKey
from tensorlake_nb.core.values.digest import digest_with_notes
from tensorlake_nb.engine.worker.pictures import pictured
from tensorlake_nb.errors import RouteError, SerializationError, UnhashableInputError
from tensorlake_nb.store.codecs.classes import ClassResolver
from tensorlake_nb.store.codecs.codec import Encoded, encode, encode_by_pickle, through_json
from tensorlake_nb.store.format.outcomes import Entry

#: An encoded output, and the targets that it is to travel to; ``None``: everywhere.
Item = tuple[Encoded, Targets | None]


class Returns:
    """Encodes what the calls of one node return.

    Attributes
    ----------
    notes
        Notes about the values for people, such as a type that only a pickle can tell apart.
    """

    def __init__(self, call: Call, resolver: ClassResolver) -> None:
        self._call, self._resolver = call, resolver
        self.notes: dict[str, None] = {}

    def prepare(self, key: TaskKey, returned: Any) -> Entry:
        """Read a return value: ``None`` is nothing, a list is one output per item, anything else is one output.

        Raises
        ------
        RouteError
            A target isn't among the declared routes.
        SerializationError
            An output can't be digested or stored.
        """
        targets, returned = self.unwrapped(returned)
        if returned is None:
            return Entry(key, 0, ())
        if not isinstance(returned, list):
            return Entry(key, BARE, (self.encoded(returned),), self.routes([targets]))
        return self.from_items(key, [self.item(item, targets) for item in returned])

    def item(self, item: Any, targets: Targets | None = None) -> Item:
        """Encode one item of a list or of a generator; a `RouteTo` in it speaks for that item."""
        own, value = self.unwrapped(item)
        return self.encoded(value), own if own is not None else targets

    def from_items(self, key: TaskKey, items: Sequence[Item]) -> Entry:
        """Put items that were encoded one by one together."""
        return Entry(key, len(items), tuple(value for value, _ in items), self.routes([each for _, each in items]))

    def encoded(self, value: Any) -> Encoded:
        """Digest and encode one output, after what the output encoder makes of it; a figure comes with its picture."""
        kept, why_not = pictured(value, self.unpictured(value), self._resolver)
        if why_not is not None:
            about = f"no picture is kept of what {self._call.node!r} returned ({type(value).__qualname__}): {why_not}"
            self.notes[about] = None
        return kept

    def unpictured(self, value: Any) -> Encoded:
        """Return the encoded value without a picture, for outputs that aren't shown."""
        if self._call.output_encoder == "json":
            value = through_json(value)
        try:
            digest, notes = digest_with_notes(value)
        except UnhashableInputError as error:
            return self._as_it_pickles(value, error)
        if notes:
            self.notes.update(dict.fromkeys(notes))
        return encode(value, digest=digest, resolver=self._resolver)

    def _as_it_pickles(self, value: Any, error: UnhashableInputError) -> Encoded:
        """Keep what has no digest of its own, as a figure that pickles differently each time: then by its pickle."""
        if inspect.iscoroutine(value) or (isinstance(value, Iterator) and not isinstance(value, IOBase)):
            raise self._unkept(value) from None
        try:
            kept = encode_by_pickle(value, resolver=self._resolver)
        except SerializationError as refused:
            raise SerializationError(f"{self._about}: {refused}") from None
        self.notes[f"{error.args[0]} It is known by the bytes of its pickle."] = None
        return kept

    @property
    def _about(self) -> str:
        return f"what {self._call.node!r} returned can't be kept"

    def _unkept(self, value: Any) -> SerializationError:
        """Say why what ends with its call can't be kept, and what to return instead."""
        if inspect.iscoroutine(value):
            value.close()  # else Python warns of it once more
            return SerializationError(
                f"{self._about}: a coroutine does nothing until it is awaited. Write `async def`, and await it there."
            )
        return SerializationError(
            f"{self._about}: a {type(value).__qualname__} can be gone through only once. Return list(...) of it, or "
            "yield its items: then they travel on one by one."
        )

    def chosen(self, returned: Any) -> Targets:
        """Return the targets that a router answers with: one, several, or none.

        Raises
        ------
        RouteError
            One of them isn't among the declared routes.
        """
        return self._checked(returned)

    def unwrapped(self, returned: Any) -> tuple[Targets | None, Any]:
        """Return the targets that a return value names, if it is a `RouteTo`, and the value itself."""
        if isinstance(returned, RouteTo):
            return self._checked(returned.targets), returned.value
        return None, returned

    def _checked(self, targets: Any) -> Targets:
        routes = self._call.routes or ()
        chosen = target_names(targets)
        for name in chosen:
            if name not in routes:
                raise RouteError(self._call.node, name, routes)
        return chosen

    def routes(self, targets: Sequence[Targets | None]) -> Routes | None:
        """Return the targets of outputs in their stored form; ``None`` if no output names any."""
        if all(each is None for each in targets):
            return None
        return Routes.of(each if each is not None else self._call.routes or () for each in targets)
