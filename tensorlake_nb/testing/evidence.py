"""Count calls by their traces in a store: a task in two segments was computed again after its commit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format.paths import writer_of


def committed_twice(store: Store, fingerprints: Mapping[str, str]) -> tuple[dict[str, int], int]:
    """Tasks that were committed more than once, counted by function, and how many tasks there are in all.

    A long list and the items of a generator are kept in parts, each as a task of its own. Parts of a call that didn't
    come to its end are kept again by the next one, which is as it should be, so they don't count. A look-up copies what
    it finds in the spool of a writer that still lives, and that writer commits it, too: such a copy carries the name
    and the duration of the call it was made from, so the two are one call.

    Parameters
    ----------
    fingerprints
        By function, under what its outputs are kept.
    """
    twice: dict[str, int] = {}
    total = 0
    for fingerprint, name in {fingerprint: name for name, fingerprint in fingerprints.items()}.items():
        calls: dict[bytes, set[tuple[str, float]]] = defaultdict(set)
        own: dict[bytes, tuple[Span, ...]] = {}
        referred: set[Span] = set()
        for segment in store.segments_of(fingerprint):
            for key, outcome in segment.outcomes().items():
                calls[key].add((writer_of(segment.name), outcome.duration_s))
                if any(span.segment != segment.name for span in outcome.outputs.spans):
                    referred.update(outcome.outputs.spans)
                else:
                    own[key] = outcome.outputs.spans
        parts = {key for key, spans in own.items() if any(_lies_in(span, referred) for span in spans)}
        total += len(calls.keys() - parts)
        count = sum(1 for key, made in calls.items() if len(made) > 1 and key not in parts)
        if count:
            twice[name] = count
    return twice, total


def _lies_in(span: Span, referred: set[Span]) -> bool:
    return any(
        span.segment == other.segment and other.start <= span.start and span.stop <= other.stop for other in referred
    )
