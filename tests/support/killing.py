"""Kill a pipeline at one point after the other, and see what it does again."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tensorlake_nb.store.format.spool_frames import read_spool
from tests.support.leftovers import Mark, marked

HERE = Path(__file__).parent
SIZE = 60
PATIENCE_S = 180.0
MOMENTS = ("before", "half", "after")
#: A worker that dies alone is replaced, and the run goes on.
VICTIMS = ("all", "all", "kernel", "worker")
#: Where a worker is; elsewhere the kernel is itself the victim.
_ON_WORKERS = ("Spool.", "NodeWork.")


@dataclass(frozen=True)
class Point:
    """The n-th call of a place, over all processes of a run."""

    place: str = ""
    number: int = 0
    moment: str = "before"
    victim: str = "all"


@dataclass
class Report:
    """The result of a kill.

    Attributes
    ----------
    kills
        How often somebody was killed, by place.
    twice_by_design
        Calls made again that weren't kept when their process died.
    twice_though_kept
        Calls made again though what they gave was kept: there must be none.
    wrong
        What else is not as it should be.
    left
        Processes and spools that outlived what they belong to.
    """

    kills: Counter[str] = field(default_factory=Counter)
    twice_by_design: int = 0
    twice_though_kept: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not (self.twice_though_kept or self.wrong or self.left)

    def __str__(self) -> str:
        places = "\n".join(f"  {count:4} {place}" for place, count in sorted(self.kills.items()))
        lines = [
            f"{self.kills.total()} kills",
            places,
            f"calls made twice, not kept yet: {self.twice_by_design}",
            f"calls made twice, though kept: {len(self.twice_though_kept)} {self.twice_though_kept}",
            f"wrong: {len(self.wrong)} {self.wrong}",
            f"left behind: {len(self.left)} {self.left}",
        ]
        return "\n".join(lines)


def kill_often(folder: Path, kills: int, seed: int, in_a_row: int = 4) -> Report:
    """Kill runs at so many points, some in a row on one store, each row followed by a run that nobody disturbs."""
    random, report = Random(seed), Report()
    with marked() as mark:
        reference = _Row(folder / "reference", mark, report)
        reference.run(Point())
        hits = reference.hits()
        for number in itertools.count(1):
            # Where workers are threads, a kill of the kernel is one of everything, and takes half the time.
            row = _Row(folder / f"row-{number}", mark, report, "threads" if number % 2 else "embedded")
            left = kills - report.kills.total()
            for turn in range(min(in_a_row, left)):
                # What is done needn't be done again: later points of a row come sooner.
                row.run(_drawn(random, hits, 1 - 0.2 * turn))
            row.run(Point())
            if report.kills.total() >= kills:
                return report
    raise AssertionError("unreachable")


def kill_at(folder: Path, *points: Point) -> Report:
    """Kill at each point once, on a store of its own; the same run, or the one after it, comes to the end."""
    report = Report()
    with marked() as mark:
        for number, point in enumerate(points):
            row = _Row(folder / f"row-{number}", mark, report)
            row.run(point)
            if point.victim != "worker":
                row.run(Point())
    return report


def _drawn(random: Random, hits: Counter[str], share: float) -> Point:
    place = random.choice(sorted(hits))
    victim = random.choice(VICTIMS)
    if victim == "worker" and not place.startswith(_ON_WORKERS):
        victim = "kernel"
    return Point(place, random.randint(1, max(1, round(share * hits[place]))), random.choice(MOMENTS), victim)


class _Row:
    """Runs one after the other on one store."""

    def __init__(self, folder: Path, mark: Mark, report: Report, cluster: str = "embedded") -> None:
        folder.mkdir(parents=True)
        self._cluster = cluster
        self._folder, self._mark, self._report = folder, mark, report
        self._calls = folder / "calls"
        self._runs = 0
        self._has_ended = 0

    def run(self, point: Point) -> None:
        """Run to the point, or to the end."""
        self._runs += 1
        hits = self._folder / f"hits-{self._runs}"
        hits.mkdir()
        lines_before = len(self._lines())
        told = {**vars(point), "hits": str(hits), "calls": str(self._calls)}
        path = [str(HERE / "kill_points"), str(HERE.parents[1]), *sys.path]
        process = subprocess.Popen(
            [sys.executable, str(HERE / "counted_pipeline.py"), str(self._store), str(self._calls), str(SIZE)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={
                **os.environ,
                **self._mark.environment,
                "TENSORLAKE_NB_CLUSTER": self._cluster,
                "TENSORLAKE_NB_KILL": json.dumps(told),
                "PYTHONPATH": os.pathsep.join(path),
            },
        )
        try:
            said, complaints = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            said, complaints = process.communicate()
            self._report.wrong.append(f"{self._named(point)} hung")
        is_hit = point.place != "" and self._count(hits, point.place) >= point.number
        if is_hit:
            self._report.kills[f"{point.place} {point.moment} {point.victim}"] += 1
        self._report.left += [f"{self._named(point)}: {left}" for left in self._mark.left(10)]
        if process.returncode == 0:
            self._judge(point, json.loads(said))
        elif not is_hit or process.returncode != -signal.SIGKILL:
            self._report.wrong.append(f"{self._named(point)} exit code {process.returncode}: {complaints[-2000:]}")
        self._compare(point, lines_before)

    def hits(self) -> Counter[str]:
        """Return how often the last run reached each place."""
        hits = self._folder / f"hits-{self._runs}"
        return Counter({path.name: path.stat().st_size for path in hits.iterdir()})

    @property
    def _store(self) -> Path:
        return self._folder / "store"

    def _judge(self, point: Point, said: dict[str, object]) -> None:
        """A run that came to its end."""
        told = json.dumps(said)
        totals = {"slow": SIZE, "collect": SIZE}
        counts: dict[str, dict[str, int]] = said["counts"]  # type: ignore[assignment]
        for node, expected in totals.items():
            if counts[node]["computed"] + counts[node]["replayed"] != expected:
                self._report.wrong.append(f"{self._named(point)} counts: {told}")
        if said["status"] != "succeeded" or said["is_right"] is not True:
            self._report.wrong.append(f"{self._named(point)} result: {told}")
        before: list[tuple[str, int, int]] = said["before"]  # type: ignore[assignment]
        ended = sum(1 for line in set(self._lines()) if line.startswith("end slow"))
        for status, failures, computed in before:
            if status not in ("interrupted", "succeeded") or failures or computed > ended:
                self._report.wrong.append(f"{self._named(point)} runs before: {told}")
        # A writer that was killed before it signed its spool leaves an empty one, which is anybody's for a minute.
        self._report.left += [
            f"{self._named(point)}: {path.name}"
            for path in self._store.rglob("*.spool")
            if path.is_file() and read_spool(path.read_bytes()).writer
        ]

    def _compare(self, point: Point, lines_before: int) -> None:
        """Note each call that was made again, and whether it was committed by then."""
        begun: set[str] = set()
        kept: set[str] = set()
        folded = -1
        last: dict[str, str] = {}
        for number, line in enumerate(self._lines()):
            what, _, thread = line.partition(" @")
            if what == "kept" and thread in last:
                kept.add(last[thread])
                if last[thread].startswith("collect"):
                    folded = max(folded, int(last[thread].split()[1]))
            elif what.startswith("end "):
                last[thread] = what.removeprefix("end ")
            elif what.startswith("begin "):
                call = what.removeprefix("begin ")
                is_kept = call in kept or (call.startswith("collect") and int(call.split()[1]) <= folded)
                if number >= lines_before and is_kept:
                    self._report.twice_though_kept.append(f"{self._named(point)}: {call}")
                elif number >= lines_before and call in begun:
                    self._report.twice_by_design += 1
                begun.add(call)

    def _named(self, point: Point) -> str:
        return f"{self._folder.name} run {self._runs} ({point.victim} {point.moment} {point.place} {point.number})"

    def _lines(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    @staticmethod
    def _count(hits: Path, place: str) -> int:
        path = hits / place
        return path.stat().st_size if path.exists() else 0
