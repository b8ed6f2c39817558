"""`RequestContext`: a function's view of its run, and its way to report to it."""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgpack

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.errors import CorruptCheckpointError
from tensorlake_nb.store.codecs.classes import ClassResolver
from tensorlake_nb.store.codecs.codec import PICKLE, decode, encode
from tensorlake_nb.store.format.trust import Keys

#: Seconds between two progress reports of one call.
_REPORT_EVERY_S = 0.25


class StateStore(Protocol):
    """The part of a store that request state needs."""

    @property
    def trusted(self) -> bool: ...

    @property
    def keys(self) -> Keys: ...

    @property
    def signing_keys(self) -> Keys | None: ...

    def put_state(self, run_id: RunId, key: str, data: bytes) -> None: ...

    def get_state(self, run_id: RunId, key: str) -> bytes | None: ...


@dataclass(slots=True)
class Effects:
    """A call's effects beside its return value, kept with its outputs and applied again when it is replayed."""

    state: dict[str, bytes] = field(default_factory=dict)
    timers: dict[str, float] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    #: The facts about its run that the call was told: its outputs hold where these are the same.
    told: dict[str, str | None] = field(default_factory=dict)

    def packed(self) -> bytes | None:
        """Return the bytes of these effects for a checkpoint, ``None`` for no effects at all."""
        if not (self.state or self.timers or self.counters or self.told):
            return None
        data: bytes = msgpack.packb([self.state, self.timers, self.counters, *([self.told] if self.told else [])])
        return data

    @staticmethod
    def unpacked(data: bytes) -> Effects:
        try:
            state, timers, counters, *told = msgpack.unpackb(data)
            return Effects(
                {str(key): bytes(memoryview(value)) for key, value in state.items()},
                {str(name): float(seconds) for name, seconds in timers.items()},
                {str(name): operator.index(count) for name, count in counters.items()},
                {str(name): value for each in told for name, value in each.items()},
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise CorruptCheckpointError(f"the effects of a call can't be read: {error}") from error

    @staticmethod
    def summed(packed: Iterable[bytes]) -> Effects:
        """Return what several calls did, in their order, as one."""
        together = Effects()
        for each in packed:
            together.add(Effects.unpacked(each))
        return together

    def add(self, other: Effects) -> None:
        """Take in the effects of a later call."""
        self.state.update(other.state)
        self.told.update(other.told)
        for name, seconds in other.timers.items():
            self.timers[name] = self.timers.get(name, 0.0) + seconds
        for name, count in other.counters.items():
            self.counters[name] = self.counters.get(name, 0) + count

    def apply_state(self, store: StateStore, run_id: RunId) -> None:
        """Write the request state of replayed calls into a run."""
        for key, data in self.state.items():
            store.put_state(run_id, key, data)


Identity = Mapping[str, str | None]


def identity(run_id: RunId, graph_name: str, graph_version: str | None) -> Identity:
    """Return what a call may ask about its run."""
    return {"request_id": run_id, "graph_name": graph_name, "graph_version": graph_version}


def holds_for(effects: bytes | None, run: Identity) -> bool:
    """Return True if a call's output holds in a run: the run would tell the call the same."""
    return effects is None or all(run.get(name) == value for name, value in Effects.unpacked(effects).told.items())


_TOLD = "reads ctx."


def note_of_told(told: Identity) -> str:
    """Return a sentence that says where the outputs of a call hold that was told of its run."""
    if "request_id" in told:
        return f"{_TOLD}request_id: what it gives is kept for this run only"
    asked = " and ".join(sorted(told))
    return f"{_TOLD}{asked}: what it gives is kept for graphs of the same {asked.replace('graph_', '')}"


def is_told(note: str) -> bool:
    """Return True if a note is one of `note_of_told`."""
    return note.startswith(_TOLD)


class RequestState:
    """Values by name, shared by all functions of a run, whatever worker they run on."""

    def __init__(self, context: RequestContext) -> None:
        self._context = context

    def set(self, key: str, value: Any) -> None:
        """Keep a value under a name; the last one wins."""
        self._context._set(key, value)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a copy of the value under a name."""
        return self._context._get(key, default)

    def timer(self, name: str, value: float) -> None:
        """Add seconds to a timer of the run."""
        self._context.timer(name, value)

    def counter(self, name: str, value: int = 1) -> None:
        """Add to a counter of the run."""
        self._context.counter(name, value)


class RequestContext:
    """Given to functions with ``inject_ctx=True`` as their first argument.

    Attributes
    ----------
    request_state
        Values shared by the run's functions.
    """

    def __init__(
        self,
        run_id: RunId,
        graph_name: str,
        graph_version: str | None,
        store: StateStore,
        resolver: ClassResolver,
        *,
        on_progress: Callable[[float, float], None] = lambda current, total: None,
        restart_clock: Callable[[], None] = lambda: None,
    ) -> None:
        self._run_id, self._identity = run_id, identity(run_id, graph_name, graph_version)
        self.request_state = RequestState(self)
        self._store, self._resolver = store, resolver
        self._on_progress, self._restart_clock = on_progress, restart_clock
        self._reported_at = float("-inf")
        self._lock = threading.Lock()
        self._effects = Effects()

    @property
    def request_id(self) -> RunId:
        """Id of the run. What a function gives that asks for it is kept for this run only."""
        return RunId(str(self._told("request_id")))

    @property
    def run_id(self) -> RunId:
        """Id of the run, as `request_id`."""
        return self.request_id

    @property
    def graph_name(self) -> str:
        """Name of the graph that runs. What a function gives that asks for it is kept for graphs of this name."""
        return str(self._told("graph_name"))

    @property
    def graph_version(self) -> str | None:
        """Version of the graph that runs. What a function gives that asks for it is kept for this version."""
        return self._told("graph_version")

    def _told(self, name: str) -> str | None:
        value = self._effects.told[name] = self._identity[name]
        return value

    @property
    def effects(self) -> Effects:
        """The state written, timers and counters so far."""
        return self._effects

    def timer(self, name: str, value: float) -> None:
        """Add seconds to a timer of the run."""
        with self._lock:
            self._effects.timers[name] = self._effects.timers.get(name, 0.0) + float(value)

    def counter(self, name: str, value: int = 1) -> None:
        """Add to a counter of the run."""
        with self._lock:
            self._effects.counters[name] = self._effects.counters.get(name, 0) + int(value)

    def update_progress(self, current: float, total: float) -> None:
        """Say how far the call is, in any unit. Its timeout starts anew."""
        self._restart_clock()
        now = time.monotonic()
        if now - self._reported_at >= _REPORT_EVERY_S or current >= total:
            self._reported_at = now
            self._on_progress(float(current), float(total))

    def _set(self, key: str, value: Any) -> None:
        kept = encode(value, digest=digest(value), resolver=self._resolver).packed()
        parts: list[Any] = [kept.codec, kept.data]
        keys = self._store.signing_keys
        if kept.codec == PICKLE and isinstance(kept.data, bytes) and keys is not None:
            # Signed where it is made: with its call's other effects it is copied from run to run.
            parts.append(keys.sign("state", key, kept.data))
        data: bytes = msgpack.packb(parts)
        with self._lock:
            self._store.put_state(self._run_id, key, data)
            self._effects.state[key] = data

    def _get(self, key: str, default: Any) -> Any:
        data = self._store.get_state(self._run_id, key)
        if data is None:
            return default
        codec, body, *signature = msgpack.unpackb(data)
        is_ours = self._store.trusted or any(self._store.keys.fit(each, "state", key, body) for each in signature[:1])
        return decode(codec, body, resolver=self._resolver, trusted=is_ours)


# as users import them, and as stored data names them, wherever the file lies
RequestContext.__module__ = "tensorlake_nb"
