"""Runs that are to stop in this process, and the end of what it knows of them."""

from __future__ import annotations

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.calls.loaded import forget_listed
from tensorlake_nb.engine.process.secrets import forget_secrets
from tensorlake_nb.engine.process.watchdog import Cancelled, interrupt_run

_cancelled: set[RunId] = set()
_given_up: set[RunId] = set()


def request_cancel(run_id: RunId) -> None:
    """Let a run's batches in this process stop before their next element, and interrupt the calls under way."""
    _cancelled.add(run_id)
    _given_up.add(run_id)
    interrupt_run(run_id, Cancelled())


def request_stop(run_id: RunId) -> None:
    """Let a run's batches in this process stop before their next element; calls under way go on to their end."""
    _cancelled.add(run_id)


def cancelled(run_id: RunId) -> bool:
    """Return True if a run's batches must stop in this process."""
    return run_id in _cancelled


def given_up(run_id: RunId) -> bool:
    """Return True if a run must stop in this process without keeping what its calls have just returned."""
    return run_id in _given_up


def forget_run(run_id: RunId) -> None:
    """Drop what this process knows of a run: it has ended, or begins again."""
    _cancelled.discard(run_id)
    _given_up.discard(run_id)
    forget_listed(run_id)
    forget_secrets(run_id)
