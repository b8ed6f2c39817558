"""`chaos`: a graph of yours under fire, and what became of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.cluster.settings import read_settings
from tensorlake_nb.engine.runs.graph import Graph
from tensorlake_nb.engine.runs.run import Run
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.filesystems.retrying import Patience, patient
from tensorlake_nb.store.format.spool_frames import read_spool
from tensorlake_nb.testing.evidence import committed_twice
from tensorlake_nb.testing.faults import Faults
from tensorlake_nb.testing.store import faulty_url

#: How long processes may take to end after their driver did (s).
_LEAVE_S = 15.0
#: A kill comes up to this long after the element that it was drawn for (s), so that it may hit anything.
_LATE_S = 0.1
_MOST_DRIVERS = 40


@dataclass(frozen=True)
class ChaosReport:
    """The report of `chaos`: its faults and their effects; ``str()`` is for people.

    Attributes
    ----------
    run_id
        The run, for ``Run.open`` in the store below ``folder``.
    differing
        Functions whose outputs weren't those of a run without faults.
    again
        Per function how many of its tasks were computed again after they had been committed.
    tasks
        How many tasks were committed in all.
    kills
        How often what was killed: ``"worker"``, ``"driver"`` (alone) or ``"all"`` (the driver and its workers).
    faults
        How often the store did what; see `Faults`.
    drivers
        How many processes it took, one after the other, to bring the run to its end.
    leftovers
        Processes that didn't end, and files of writers that are dead.
    error
        Why the run never succeeded, if it didn't.
    """

    graph: str
    seed: int
    tasks: int
    run_id: str = ""
    differing: tuple[str, ...] = ()
    again: Mapping[str, int] = field(default_factory=dict)
    kills: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)
    drivers: int = 1
    leftovers: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """True if every promise was kept."""
        return not (self.differing or self.again or self.leftovers or self.error)

    def check(self) -> ChaosReport:
        """Itself, if all is well; else `AssertionError` with the whole report."""
        if not self.is_good:
            raise AssertionError(str(self))
        return self

    def __str__(self) -> str:
        def listed(counts: Mapping[str, int]) -> str:
            return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"

        lines = [
            f"chaos on {self.graph!r}, seed {self.seed}: {'all is well' if self.is_good else 'something is wrong'}",
            f"  kills        {listed(self.kills)}; {self.drivers} drivers in {self.seconds:.0f} s",
            f"  store faults {listed(self.faults)}",
            f"  results      {'identical' if not self.differing else 'other ones from ' + ', '.join(self.differing)}",
            f"  tasks        {self.tasks} committed; computed again after that: {listed(self.again)}",
            f"  leftovers    {', '.join(self.leftovers) or 'none'}",
        ]
        return "\n".join([*lines, *([f"  error        {self.error}"] if self.error else [])])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the result in a cell."""
        printer.text(str(self))


def chaos(
    graph: Graph,
    inputs: Mapping[str, Any],
    *,
    seed: int = 0,
    worker_kills: int = 2,
    driver_kills: int = 2,
    faults: Faults | None = None,
    object_store: bool = False,
    workers: int = 2,
    folder: str | os.PathLike[str] | None = None,
    timeout_s: float = 600.0,
) -> ChaosReport:
    """Run a graph while its processes are killed and its store fails, and say whether that changed anything.

    The graph runs once undisturbed, on threads of this process. Then it runs in processes of its own, on a store with
    faults: workers are killed, the process that drives it is killed, alone or with its workers, and each time another
    process resumes it, until the run has ended. Functions are really called: twice or more where they were
    interrupted.

    Parameters
    ----------
    graph, inputs
        The graph to run. Its functions must return equal outputs for equal arguments: seed randomness.
    seed
        Decides when what is killed, and which operations of the store fail. Times differ from machine to machine, so
        the same seed hits much the same places, not exactly the same.
    worker_kills, driver_kills
        How often to kill a worker, and whatever drives the run. A short run may be at its end before all of them.
    faults
        How the store behaves; by default 3 % of its operations go wrong in one way or another.
    object_store
        Let the store behave as an object store instead of a disk.
    workers
        Worker processes.
    folder
        Where to keep the stores, to look into them; by default they are removed.
    timeout_s
        How long it may take before it is an error.

    Returns
    -------
    ChaosReport
        ``chaos(...).check()`` is all that a test needs.

    Raises
    ------
    RunError
        The graph fails without any faults, too.

    Examples
    --------
    >>> from tensorlake_nb.testing import chaos
    >>> print(chaos(graph, {"n": 100}, seed=7))  # doctest: +SKIP
    """
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return _Chaos(graph, inputs, seed, Path(folder)).run(
            worker_kills, driver_kills, faults, object_store, workers, timeout_s
        )
    with tempfile.TemporaryDirectory(prefix="tensorlake-nb-chaos-", ignore_cleanup_errors=True) as made:
        return _Chaos(graph, inputs, seed, Path(made)).run(
            worker_kills, driver_kills, faults, object_store, workers, timeout_s
        )


class _Chaos:
    def __init__(self, graph: Graph, inputs: Mapping[str, Any], seed: int, folder: Path) -> None:
        self._graph, self._inputs, self._seed, self._folder = graph, dict(inputs), seed, folder
        self._draw = random.Random(f"chaos/{seed}")
        self._kills: Counter[str] = Counter()
        self._sessions: list[int] = []
        self._settled = 0

    def run(
        self,
        worker_kills: int,
        driver_kills: int,
        faults: Faults | None,
        object_store: bool,
        workers: int,
        timeout_s: float,
    ) -> ChaosReport:
        began = time.monotonic()
        wanted, size = self._undisturbed(workers)
        log = self._folder / "faults"
        chosen = replace(faults or Faults.all_sorts(seed=self._seed), log=str(log))
        url = faulty_url(self._folder / "store", chosen, as_objects=object_store)
        session = Session(read_settings(store=url, trust_store=True, workers=workers))
        with patient(Patience(timeout_s)):
            blueprint, _ = self._graph._draw_up(session, self._inputs)
            RunLog(session.store(), blueprint.run_id).create(replace(blueprint, owner={}).to_json())
        plan = [*["worker"] * worker_kills, *[self._draw.choice(["driver", "all"]) for _ in range(driver_kills)]]
        self._draw.shuffle(plan)
        left = sorted(zip((self._draw.randrange(max(size, 1)) for _ in plan), plan, strict=True), reverse=True)
        drivers, error = 0, None
        until = began + timeout_s
        while True:
            drivers += 1
            said = self._drive(url, blueprint.run_id, workers, left, until)
            if said.startswith("ended succeeded"):
                break
            error = said or None
            if time.monotonic() > until or drivers >= _MOST_DRIVERS:
                error = f"after {drivers} drivers: {said or 'it was killed'}"
                break
            # A failure may be a kill's: it costs an attempt of what was being computed.
            error = None
        leftovers = self._left()
        store = open_store(str(self._folder / "store"), trusted=True)
        store.recover()
        leftovers += self._left_in_store()
        got = {} if error else _digests(Run.open(blueprint.run_id, Session(read_settings(store=store.url))), store)
        again, tasks = committed_twice(store, {name: call.fingerprint for name, call in blueprint.calls.items()})
        return ChaosReport(
            graph=self._graph.name,
            seed=self._seed,
            tasks=tasks,
            run_id=blueprint.run_id,
            differing=() if error else tuple(name for name in wanted if got.get(name) != wanted[name]),
            again=again,
            kills=dict(self._kills),
            faults=dict(Counter(log.read_text().split())) if log.exists() else {},
            drivers=drivers,
            leftovers=tuple(leftovers),
            error=error,
            seconds=time.monotonic() - began,
        )

    def _undisturbed(self, workers: int) -> tuple[dict[str, bytes], int]:
        """Digests of what each function gives when nothing goes wrong, and how many elements there are."""
        settings = read_settings(store=str(self._folder / "undisturbed"), cluster="threads", workers=workers)
        session = Session(settings)
        try:
            blueprint, resolver = self._graph._draw_up(session, self._inputs)
            run = Run._begin(session, blueprint, resolver).wait()
            size = sum(counts["computed"] or 0 for counts in run.snapshot().values())
            return _digests(run, session.store()), size
        finally:
            session.close()

    def _drive(self, url: str, run_id: str, workers: int, left: list[tuple[int, str]], until: float) -> str:
        """Let one process drive the run until it ends or is killed; its last word."""
        with open(self._folder / "drivers.log", "a") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "tensorlake_nb.testing.driver", url, run_id, str(workers)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._sessions.append(process.pid)
        timer = threading.Timer(max(until - time.monotonic(), 0), _kill_session, (process.pid,))
        timer.start()
        assert process.stdout is not None
        last = ""
        try:
            for line in process.stdout:
                last = line.strip()
                if not last.startswith("at "):
                    continue
                while left and left[-1][0] <= int(last.removeprefix("at ")):
                    _, victim = left.pop()
                    time.sleep(self._draw.random() * _LATE_S)
                    if self._kill(process.pid, victim):
                        self._kills[victim] += 1
                    if victim != "worker":
                        break
        finally:
            timer.cancel()
            process.stdout.close()
            process.wait()
        return last if last.startswith("ended") else ""

    def _kill(self, driver: int, victim: str) -> bool:
        """Kill something; whether there was anything to kill."""
        if victim == "all":
            return _kill_session(driver)
        if victim == "driver":
            return _kill(driver)
        with suppress(psutil.Error):
            found = [each for each in psutil.Process(driver).children() if "spawn_main" in " ".join(each.cmdline())]
            return bool(found) and _kill(self._draw.choice(found).pid)
        return False

    def _left(self) -> list[str]:
        """Name the processes that outlive their driver, and end them."""
        until = time.monotonic() + _LEAVE_S
        while (found := _of_sessions(self._sessions)) and time.monotonic() < until:
            time.sleep(0.05)
        for process in found:
            _kill(process.pid)
        return [f"process {process.pid}" for process in found]

    def _left_in_store(self) -> list[str]:
        """Name what dead writers and drivers left in the store.

        An empty spool is taken away a minute after its writer was killed, and what was killed before it got its name
        by the next collection.
        """
        store = self._folder / "store"
        spools = [path for path in (store / "spool").rglob("*.spool") if read_spool(path.read_bytes()).writer]
        return [str(path.relative_to(store)) for path in [*spools, *(store / "claims" / "runs").glob("[!.]*")]]


def _digests(run: Run, store: Store) -> dict[str, bytes]:
    names = [name for name, node in run._blueprint.plan.nodes.items() if not node.is_virtual]
    return {name: store.digests(run.outputs(name).spans) for name in names}


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _kill_session(leader: int) -> bool:
    """Kill a driver and all that it has started."""
    killed = [_kill(process.pid) for process in _of_sessions([leader])]
    return any(killed)


def _of_sessions(leaders: list[int]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) in leaders and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
