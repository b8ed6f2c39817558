"""Failures of a run → the errors that are raised for them in the notebook."""

from __future__ import annotations

from collections.abc import Iterable

from tensorlake_nb.core.batches.batch import FailureKind
from tensorlake_nb.engine.reports.counts import FailedElement
from tensorlake_nb.errors import RequestException, TaskFailedError


def requested(failures: Iterable[FailedElement]) -> RequestException | None:
    """Return the `RequestException` with which a function ended the run, if any."""
    for failure in failures:
        if failure.kind is FailureKind.REQUEST:
            return RequestException(failure.error.partition(": ")[2])
    return None


def task_failed(failure: FailedElement, cause: BaseException | None = None, lacking: str = "") -> TaskFailedError:
    """Return the error for one failure.

    Parameters
    ----------
    cause
        The function's own exception, if it is here.
    lacking
        The function that gave nothing because of it.
    """
    error = TaskFailedError(
        failure.node,
        failure.index,
        failure.input_repr,
        failure.attempt,
        failure.error,
        failure.traceback_text,
        lacking,
    )
    error.__cause__ = cause
    return error
