"""Size the next batch from measured times and free slots, and nothing else.

A batch that is too small pays Dask's overhead (some milliseconds) again and again; one that is too large keeps work
from idle workers and shows progress late. A worker also stops beginning elements once `BUDGET_S` is over, so a wrong
guess here costs little.
"""

from __future__ import annotations

import math

#: The aim for a batch's duration (s).
TARGET_S = 0.4
#: After how long a worker begins no further element of a batch (s), once times are known, and before.
BUDGET_S = 0.6
FIRST_BUDGET_S = 0.15
#: The least duration of a batch (s), where there is work enough: less isn't worth a Dask task.
LEAST_S = 0.05
#: The most elements of one batch: bounds what a receipt holds.
MOST = 5_000
#: The same of a fold, whose receipt holds one accumulator; or as many as it has folded.
MOST_FOLDED = 20_000
#: A fold waits for elements where keeping its accumulator is worth more than this (s) of folding.
LEAST_WORTH_S = 0.05
#: How many batches a second a scheduler is given at most, all nodes together; Dask's manages some thousand.
MOST_PER_S = 500
#: The most elements while nothing is known of their time.
FIRST_MOST = 500


def batch_size(n_ready: int, slots: int, pace_s: float | None, concurrency: int = 1) -> int:
    """Return the number of elements in the next batch.

    Parameters
    ----------
    n_ready
        Elements that could be begun now, at least 1.
    slots
        How many batches the cluster works on at once.
    pace_s
        Measured time of one element in a batch (s), ``None`` when there is none yet; of several at once, a share.
    concurrency
        How many elements of a batch run at once.
    """
    more = _more(slots)
    # Several shares per slot, so that no worker is left with a large batch at the end.
    share = math.ceil(n_ready / (slots * 4))
    least = concurrency if pace_s is None else max(_worth(LEAST_S, pace_s), concurrency)
    most = FIRST_MOST if pace_s is None else max(_worth(TARGET_S * more, pace_s, MOST * more), concurrency)
    return max(1, min(max(share, least), most, n_ready, int(MOST * more)))


def budget_s(slots: int, pace_s: float | None) -> float:
    """After how long (s) a worker begins no further element of a batch."""
    return FIRST_BUDGET_S if pace_s is None else BUDGET_S * _more(slots)


def _more(slots: int) -> float:
    """Return the factor by which batches last longer than on a small cluster, to spare the scheduler."""
    return max(1.0, slots / (MOST_PER_S * TARGET_S))


def window(slots: int) -> int:
    """Return the most batches of one node under way: one at work and one waiting in every slot."""
    return 2 * max(1, slots)


def fold_size(pace_s: float | None, worth_s: float = 0.0, folded: int = 0) -> int:
    """Return the most elements that the next batch of a fold takes.

    Parameters
    ----------
    worth_s
        For how long to fold before keeping the accumulator is worth it (s): each batch reads one, and keeps one.
    folded
        How many elements went into the fold so far.
    """
    if pace_s is None:
        return FIRST_MOST
    return max(1, _worth(max(TARGET_S, worth_s), pace_s, max(MOST_FOLDED, folded)))


def fold_budget_s(worth_s: float) -> float:
    """After how long (s) a worker begins no further step of a fold."""
    return max(BUDGET_S, BUDGET_S / TARGET_S * worth_s)


def is_worth_folding(available: int, pace_s: float | None, worth_s: float) -> bool:
    """Return True if folding as many elements takes long enough to pay for reading and keeping an accumulator."""
    return pace_s is None or worth_s <= LEAST_WORTH_S or available * pace_s >= worth_s


def _worth(seconds: float, pace_s: float, most: float = MOST) -> int:
    """Return the number of elements that take so long, at most ``most``."""
    return int(most) if pace_s * most <= seconds else int(seconds / pace_s)
