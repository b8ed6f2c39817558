"""What a store says about calls: a task that stands in two segments was computed after it had been committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tensorlake_nb.core.batch import Span
from tensorlake_nb.store.checkpoints import Store


def committed_twice(store: Store, fingerprints: Mapping[str, str]) -> tuple[dict[str, int], int]:
    """Tasks that were committed more than once, counted by function, and how many tasks there are in all.

    A long list and the items of a generator are kept in parts, each as a task of its own. Parts of a call that didn't
    come to its end are kept again by the next one, which is as it should be, so they don't count.

    Parameters
    ----------
    fingerprints
        By function, under what its outputs are kept.
    """
    twice: dict[str, int] = {}
    total = 0
    for fingerprint, name in {fingerprint: name for name, fingerprint in fingerprints.items()}.items():
        times: Counter[bytes] = Counter()
        own: dict[bytes, tuple[Span, ...]] = {}
        referred: set[Span] = set()
        for segment in store.segments_of(fingerprint):
            for key, outcome in segment.outcomes().items():
                times[key] += 1
                if any(span.segment != segment.name for span in outcome.spans):
                    referred.update(outcome.spans)
                else:
                    own[key] = outcome.spans
        parts = {key for key, spans in own.items() if any(_lies_in(span, referred) for span in spans)}
        total += len(times.keys() - parts)
        count = sum(1 for key, many in times.items() if many > 1 and key not in parts)
        if count:
            twice[name] = count
    return twice, total


def _lies_in(span: Span, referred: set[Span]) -> bool:
    return any(
        span.segment == other.segment and other.start <= span.start and span.stop <= other.stop for other in referred
    )
