"""Say of a batch that was lost with its worker why, and whom to charge with it."""

from __future__ import annotations

from collections.abc import Callable

from tensorlake_nb.core.batches import messages as ms
from tensorlake_nb.core.batches.batch import FailureKind
from tensorlake_nb.engine.calls import reporting
from tensorlake_nb.engine.cluster.deaths import TIMED_OUT
from tensorlake_nb.engine.cluster.worker_deaths import BLAMELESS


def lost_with_worker(
    number: int,
    death: str,
    overran: reporting.Overran | None,
    last_words: Callable[[], str],
    *,
    has_begun: bool,
) -> ms.Lost:
    """Tell the loss of a batch whose worker has ended.

    Parameters
    ----------
    death
        How it ended, as far as is known.
    overran
        The call that took longer than its timeout, if that was told.
    last_words
        Return what was written on the worker just before.
    """
    if death == TIMED_OUT:
        return ms.Lost(
            number,
            too_late(overran),
            FailureKind.TIMEOUT,
            has_begun=has_begun,
            culprit=culprit_of(overran),
            last_words=last_words(),
        )
    if death in BLAMELESS:
        return ms.Lost(number, BLAMELESS[death], is_blameless=True)
    return ms.Lost(number, process_ended(death), has_begun=has_begun, last_words=last_words())


def process_ended(how: str = "") -> str:
    """Say that a worker process ended, and how if that is known."""
    return f"its worker process ended ({how})" if how else "its worker process ended"


def too_late(overran: reporting.Overran | None) -> str:
    """Say that a call took too long and was ended with its process."""
    late = "it took longer than its timeout"
    if overran is not None:
        late = f"{overran.node!r} took longer than its timeout of {overran.timeout_s:g} s"
    return f"TaskTimeoutError: {late}, and its worker process was ended"


def culprit_of(overran: reporting.Overran | None) -> tuple[str, int] | None:
    """Return which node's call it was, and of which element of the batch, if that is certain."""
    return None if overran is None or overran.offset is None else (overran.node, overran.offset)
