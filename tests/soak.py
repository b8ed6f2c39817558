"""Random graphs under fire, for as long as one likes: ``python -m tests.soak --minutes 30 --seed 1``.

Each round draws a graph, runs it under `chaos`, and compares every function's outputs with a plain interpreter's;
then one function is edited, and the graph runs again on the same store. What is found is the report: kills, faults,
tasks computed again after they were committed (0), wrong results (0), leftovers (0).
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from tensorlake_nb import Graph, GraphError, Retries, Run
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.cluster.settings import read_settings
from tensorlake_nb.engine.travel.fingerprints import fingerprints, resolver_of
from tensorlake_nb.testing import ChaosReport, Faults, chaos
from tests.support.reference import KINDS, JoinRefused, NodeSpec, interpret, make_graph

#: How long each call takes (s), so that a kill can hit one.
PACE_S = 0.02
_MOST_OUTPUTS = 400
_ITEMS = 12


@dataclass
class Soak:
    """What has happened so far."""

    rounds: int = 0
    drivers: int = 0
    tasks: int = 0
    edits: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    twice: int = 0
    #: What the runs in which a call was made twice say of themselves.
    repeating: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    def add(self, report: ChaosReport) -> None:
        """Count one run."""
        self.rounds, self.drivers = self.rounds + 1, self.drivers + report.drivers
        self.tasks += report.tasks
        self.kills.update(report.kills)
        self.faults.update(report.faults)
        if report.again:
            self.twice += sum(report.again.values())
            self.repeating.append(str(report))
        self.leftovers += report.leftovers
        if report.error or report.differing:
            self.wrong.append(str(report))

    @property
    def is_good(self) -> bool:
        return not (self.twice or self.wrong or self.leftovers)

    def __str__(self) -> str:
        kills, faults = sum(self.kills.values()), sum(self.faults.values())
        return (
            f"{self.rounds} runs, {self.edits} of them after an edit, by {self.drivers} drivers; {self.tasks} tasks\n"
            f"kills {kills} {dict(self.kills)}\nstore faults {faults} {dict(self.faults)}\n"
            f"calls twice {self.twice}\nwrong results {len(self.wrong)}\nleftovers {len(self.leftovers)}"
            + "".join(f"\n{each}" for each in [*self.repeating, *self.wrong, *self.leftovers])
        )


def drawn(draw: random.Random) -> list[NodeSpec]:
    """A graph of some kind."""
    specs = [NodeSpec(draw.choice(["several", "generator", "nested", "routed_items"]), draw.randrange(50))]
    for position in range(1, draw.randint(2, 6)):
        kind = draw.choice(KINDS)
        if kind == "join" and position < 2:
            kind = "number"
        most = min(position, 2)
        parents = draw.sample(range(position), most if kind == "join" else draw.randint(1, most))
        specs.append(NodeSpec(kind, draw.randrange(50), False, tuple(parents)))
    return specs


def edited(specs: Sequence[NodeSpec], draw: random.Random) -> list[NodeSpec]:
    """The same with one function changed."""
    changed = draw.randrange(len(specs))
    return [replace(spec, salt=spec.salt + 50) if i == changed else spec for i, spec in enumerate(specs)]


def meaning(specs: Sequence[NodeSpec], value: Any) -> tuple[Graph, dict[str, list[Any]]] | None:
    """The graph, and what each of its functions gives; ``None`` if it is none, or too large to be of use."""
    graph = make_graph(specs, pace_s=PACE_S, retries=Retries(max_retries=8, initial_delay=0.05, max_delay=0.2))
    try:
        wanted = interpret(specs, graph.freeze(), value)
    except (GraphError, JoinRefused):
        return None
    size = sum(map(len, wanted.values()))
    return (graph, wanted) if _ITEMS < size < _MOST_OUTPUTS else None


def once(soak: Soak, graph: Graph, wanted: dict[str, list[Any]], value: Any, folder: Path, seed: int) -> None:
    """One run under fire, compared with what it means."""
    draw = random.Random(f"how/{seed}")
    report = chaos(
        graph,
        {"x": value},
        seed=seed,
        worker_kills=draw.randint(0, 3),
        driver_kills=draw.randint(0, 2),
        faults=Faults.all_sorts(draw.choice([0.0, 0.03, 0.06]), seed=seed),
        object_store=draw.random() < 0.4,
        folder=folder,
        timeout_s=240,
    )
    soak.add(report)
    if report.error:
        return
    session = Session(read_settings(store=str(folder / "store"), trust_store=True))
    run = Run.open(report.run_id, session)
    resolver = resolver_of(fingerprints(graph.freeze(), {"x": value}))
    for name, outputs in wanted.items():
        got = session.store().read(run.outputs(name).spans, resolver)
        if got != outputs:
            soak.wrong.append(f"seed {seed}: {name} gave {got!r:.300} instead of {outputs!r:.300}")


def main(seconds: float, seed: int, keep: Path | None = None) -> Soak:
    """Run rounds until the time is up; at least one. Stores of rounds in which something was wrong can be kept."""
    draw, soak = random.Random(seed), Soak()
    process, until = psutil.Process(), time.monotonic() + seconds
    threads: int | None = None
    found = 0
    before = _listening(process)
    while soak.rounds == 0 or time.monotonic() < until:
        specs, value = drawn(draw), [draw.randrange(9) for _ in range(_ITEMS)]
        given = meaning(specs, value)
        if given is None:
            continue
        with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
            once(soak, *given, value, Path(folder), draw.randrange(2**31))
            after = meaning(edited(specs, draw), value)
            if after is not None and time.monotonic() < until:
                soak.edits += 1
                once(soak, *after, value, Path(folder), draw.randrange(2**31))
            found, before_this = len(soak.repeating) + len(soak.wrong) + len(soak.leftovers), found
            if keep is not None and found > before_this:
                shutil.copytree(folder, keep / f"seed-{seed}-run-{soak.rounds}")
        # What the first round has started and every other one uses again isn't left over.
        threads = threads if threads is not None else threading.active_count()
        if threading.active_count() > threads + 2:
            soak.leftovers += [f"thread {thread.name}" for thread in threading.enumerate()]
            threads = threading.active_count()
        soak.leftovers += [f"file {file.path}" for file in process.open_files() if "soak-" in file.path]
        soak.leftovers += [f"listens on port {port}" for port in sorted(_listening(process) - before)]
    return soak


def _listening(process: psutil.Process) -> set[int]:
    return {each.laddr.port for each in process.net_connections() if each.status == psutil.CONN_LISTEN}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the stores of rounds in which something was wrong")
    asked = parser.parse_args()
    outcome = main(asked.minutes * 60, asked.seed, asked.keep)
    print(outcome)
    sys.exit(0 if outcome.is_good else 1)
