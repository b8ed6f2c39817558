"""What a failure shows of an error and of a value: in short, in time, whatever they are."""

from __future__ import annotations

import dataclasses
import threading
import time
import tracemalloc
from typing import Any

import pydantic
import pytest

from tensorlake_nb.engine.calls import failure_text as failures
from tensorlake_nb.engine.calls.failure_text import short_repr
from tensorlake_nb.errors import ClusterError, RunError, StoreError, TaskFailedError, TensorlakeError, UsageError


class Endless:
    def __repr__(self) -> str:
        while True:
            pass


class Raising:
    def __repr__(self) -> str:
        raise RecursionError


class Model(pydantic.BaseModel):
    text: str
    data: bytes


@dataclasses.dataclass
class Record:
    text: str
    data: bytearray


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**7,
        b"x" * 10**7,
        [bytes(10**7)],
        Model(text="x" * 10**7, data=b"x" * 10**7),
        Record("", bytearray(10**7)),
    ],
    ids=["text", "bytes", "list", "model", "dataclass"],
)
def test_a_giant_value_is_told_in_short_and_never_written_out(value: Any) -> None:
    tracemalloc.start()
    try:
        told = short_repr(value)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert len(told) <= 200
    assert "x" in told or "0" in told


def test_a_repr_that_never_ends_or_fails_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_PATIENCE_S", 0.1)
    before = threading.active_count()

    assert short_repr(Endless()) == "<Endless, its repr takes too long>"
    assert short_repr([Raising()]) == "<list, its repr fails>"
    until = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("kind", [StoreError, ClusterError, RunError, UsageError])
def test_an_error_of_store_cluster_run_or_use_shows_its_message_and_no_frames(kind: type[TensorlakeError]) -> None:
    (shown,) = kind("what happened, and what to do")._render_traceback_()  # type: ignore[attr-defined]

    assert shown == f"{kind.__name__}: what happened, and what to do"


def test_hostile_text_of_an_error_is_spelled_out_in_the_cell() -> None:
    error = TaskFailedError(
        "node", 0, "'\x1b]0;title\x07'", 1, "ValueError: \x1b[31mred \u202eevil", "line\r\nline\tend"
    )

    (shown,) = error._render_traceback_()

    assert "\\u001b[31mred \\u202eevil" in shown
    assert not set("\x1b\u202e\x07\r") & set(shown)
    assert "line\\u000d\nline\tend" in shown
