"""Runs of the store as a list, one run as text, and why its functions ran: for cells and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask.utils import format_bytes

from tensorlake_nb.engine.cluster import session
from tensorlake_nb.engine.reports.why import Reasons
from tensorlake_nb.engine.runs.collection import Collected, Planned
from tensorlake_nb.engine.runs.run import Run
from tensorlake_nb.engine.verifying.verification import Verification
from tensorlake_nb.errors import RunNotFoundError
from tensorlake_nb.notebook.drawing.faces import picture_of
from tensorlake_nb.notebook.drawing.html import html_table
from tensorlake_nb.notebook.drawing.picture import GLYPHS, Picture, State, state_of
from tensorlake_nb.notebook.terminal.progress_lines import block
from tensorlake_nb.store.checkpoints.run_log import list_runs

STATUS_GLYPHS: dict[str, str] = {
    "running": GLYPHS["running"],
    "succeeded": GLYPHS["computed"],
    "failed": GLYPHS["failed"],
    "cancelled": GLYPHS["cancelled"],
    "interrupted": GLYPHS["cancelled"],
}
#: As wide as a report in the terminal is; what is longer is cut.
WIDTH = 120
LONGEST_ERROR = 2000


def latest_runs(limit: int, graph: str | None = None) -> Sequence[Run]:
    """Return runs of the store, newest first."""
    return Run.list(graph=graph, limit=limit)


def run_ids(limit: int) -> list[str]:
    """Return ids alone, newest first: nothing of the runs is read."""
    return [str(entry.run_id) for entry in list_runs(session.current().store(), limit)]


def find_run(run_id: str | None) -> Run:
    """Return the run of that id, or the latest.

    Raises
    ------
    RunNotFoundError
        When there is none.
    """
    if run_id is not None:
        return Run.open(run_id)
    latest = latest_runs(1)
    if not latest:
        raise RunNotFoundError("the store holds no run yet")
    return latest[0]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that read as text and as HTML."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "nothing yet"

    def __repr__(self) -> str:
        if not self.rows:
            return self.empty
        lines = [self.titles, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.titles))]
        return "\n".join(
            "  ".join(f"{cell:{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _repr_html_(self) -> str:
        return html_table(self.titles, self.rows)


def runs_table(runs: Sequence[Run]) -> Table:
    """One row per run: its id, graph, status, when it began (UTC), and its elements by outcome."""
    return Table(("run", "graph", "status", "began (UTC)", "elements"), tuple(map(_run_row, runs)), "no runs yet")


def _run_row(run: Run) -> tuple[str, ...]:
    status = run.status
    return run.id, run.graph, f"{STATUS_GLYPHS.get(status, '?')} {status}", _began(run.id), _totals(picture_of(run))


def _began(run_id: str) -> str:
    """Return the time that begins a run's id, ``20250102-030405-…``, as people write it."""
    day, time = run_id.split("-")[:2]
    return f"{day[:4]}-{day[4:6]}-{day[6:8]} {time[:2]}:{time[2:4]}:{time[4:6]}"


def _totals(picture: Picture) -> str:
    order: tuple[State, ...] = ("failed", "cancelled", "running", "computed", "replayed")
    sums = {state: sum(getattr(box.counts, state) for box in picture.boxes if box.counts) for state in order}
    return ", ".join(f"{n} {state}" for state, n in sums.items() if n)


def runs_text(runs: Sequence[Run]) -> str:
    """Return the list as text."""
    return repr(runs_table(runs))


def run_text(run: Run) -> str:
    """Return one run as text: a line per node, then its first failures."""
    picture = picture_of(run)
    lines = [f"run {run.id}", *block(picture, WIDTH)]
    for failure in run.failures[:3]:
        lines += ["", f"{failure.node}, element {failure.index}, input {failure.input_repr}: {failure.error}"]
        if failure.traceback_text:
            lines.append(failure.traceback_text[-LONGEST_ERROR:].rstrip())
    left = len(run.failures) - 3
    if left > 0:
        lines += ["", f"and {left} more failures"]
    if run.error and not run.failures:
        lines += ["", run.error]
    return "\n".join(lines)


def html_of_verification(found: Verification) -> str:
    """Return a verification as HTML: its table, and a paragraph for each remark."""
    titles, *rows = found.table
    return html_table(titles, rows, found.remarks)


def collected(options: Mapping[str, Any]) -> Collected:
    """Collect with the options of `tensorlake_nb.collect`; how much goes is printed before it goes."""
    planned = Planned(**options)
    shown = planned.shown
    if options["dry_run"]:
        return shown
    if shown.freed_bytes:
        print(f"freeing {format_bytes(shown.freed_bytes)}; {format_bytes(shown.kept_bytes)} stay", flush=True)
    return planned.carry_out()


@dataclass(frozen=True, slots=True)
class Why:
    """Per function of a run, why it was computed or replayed."""

    reasons: tuple[Reasons, ...]

    def __repr__(self) -> str:
        return "\n".join(map(str, self.reasons)) or "the run has reached no function yet"


def why(run: Run, function: str | None = None) -> Why:
    """Return the reasons of one function, or of all that the run reached."""
    if function is not None:
        return Why((run.why(function),))
    picture = picture_of(run)
    reached = [box.name for box in picture.boxes if state_of(box, picture.over) not in ("waiting", "not reached")]
    return Why(tuple(map(run.why, reached)))
