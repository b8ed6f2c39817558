"""Laws of what a collection lets go, for any runs and options."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.store.collecting.retention import KnownRun, Retention, candidates, how_many_fit, verdict

NOW = 1000.0

retentions = st.builds(
    Retention,
    keep_runs=st.none() | st.integers(0, 4),
    older_than_s=st.none() | st.integers(0, 300).map(float),
    max_bytes=st.none() | st.integers(0, 300),
    grace_s=st.integers(0, 100).map(float),
)


@st.composite
def some_runs(draw: st.DrawFn) -> list[KnownRun]:
    told = draw(st.lists(st.tuples(st.sampled_from("abc"), st.integers(500, 1010), st.booleans()), max_size=12))
    runs = [KnownRun(f"{number:03d}", graph, float(at), live) for number, (graph, at, live) in enumerate(told)]
    return draw(st.permutations(runs))


@given(some_runs(), retentions)
def test_what_is_live_young_or_promised_stays_and_all_else_may_go(runs: list[KnownRun], retention: Retention) -> None:
    may_go = candidates(runs, retention, NOW)

    assert [run.run_id for run in may_go] == sorted((run.run_id for run in may_go), reverse=True)
    for run in runs:
        newer = sum(other.graph == run.graph and other.run_id > run.run_id for other in runs)
        stays = (
            run.is_live
            or NOW - run.last_at <= retention.grace_s
            or (retention.keep_runs is not None and newer < retention.keep_runs)
            or (retention.older_than_s is not None and NOW - run.last_at <= retention.older_than_s)
            or (retention.keep_runs is None and retention.older_than_s is None and retention.max_bytes is None)
        )
        assert (run in may_go) == (not stays)


@given(some_runs(), retentions, st.integers(0, 3))
def test_a_stricter_option_lets_no_fewer_runs_go(runs: list[KnownRun], retention: Retention, fewer: int) -> None:
    if retention.keep_runs is None:
        return
    stricter = Retention(max(0, retention.keep_runs - fewer), retention.older_than_s, None, retention.grace_s)

    assert set(candidates(runs, retention, NOW)) <= set(candidates(runs, stricter, NOW))


@given(st.integers(0, 100), st.lists(st.integers(0, 50), max_size=10), st.integers(0, 300))
def test_as_many_of_the_newest_stay_as_fit_and_no_more(kept: int, sizes: list[int], most: int) -> None:
    fitting = how_many_fit(kept, sizes, most)

    totals = list(accumulate(sizes, initial=kept))
    assert totals[fitting] <= most or fitting == 0
    assert fitting == len(sizes) or totals[fitting + 1] > most
    assert how_many_fit(kept, sizes, None) == 0


@given(*(st.booleans() for _ in range(6)))
def test_nothing_young_live_or_needed_goes_unless_it_is_damaged_or_was_never_committed(
    is_young: bool, is_live: bool, is_marked: bool, is_committed: bool, is_spooled: bool, is_needed: bool
) -> None:
    fate = verdict(
        is_young=is_young,
        is_live=is_live,
        is_marked=is_marked,
        is_committed=is_committed,
        is_spooled=is_spooled,
        is_needed=is_needed,
    )

    if is_young or is_live:
        assert fate == "kept"
    elif is_marked:
        assert fate == "damaged"
    elif not is_committed:
        assert fate == ("kept" if is_spooled else "left over")
    else:
        assert fate == ("kept" if is_needed else "not needed")
