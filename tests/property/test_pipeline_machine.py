"""A pipeline beside a model of it: edited, killed, cancelled, resumed, damaged, in one store; results and calls agree.

Each run, whatever came before, gives what the model gives, and makes exactly the calls that the model says: none that
is kept already, and each that isn't. Real runs by the real driver, with batches computed in this process; a kill is the
end of a forked one. The same examples every time; ``TENSORLAKE_NB_MODEL_EXAMPLES=500`` looks at more, at random.
"""

from __future__ import annotations

import itertools
import linecache
import logging
import os
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tensorlake_nb import Graph, Run, RunError, collect
from tensorlake_nb.engine.calls import loaded as functions
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.cluster.settings import read_settings
from tensorlake_nb.engine.driving import driver
from tensorlake_nb.engine.driving.launch import INPUTS_FINGERPRINT
from tensorlake_nb.engine.process import private_loop as loop_thread
from tensorlake_nb.store.checkpoints import opening
from tests.support.damage import DAMAGES, harm
from tests.support.local_backend import Place, runs_here
from tests.support.notes import Notes
from tests.support.pipeline_model import Call, Code, Expected, Kept, Ledger, expected

EXAMPLES = int(os.environ["TENSORLAKE_NB_MODEL_EXAMPLES"]) if "TENSORLAKE_NB_MODEL_EXAMPLES" in os.environ else None
#: What a person may edit: values that the results depend on, or (nothing here) a remark.
EDITS: list[dict[str, int]] = [
    *({"factor": 2}, {"factor": 3}, {"step": 1}, {"step": 2}, {"border": 6}, {"mark": 1}, {}),
    # Of what a class reaches: a global and a helper of its method, its base, itself.
    *({"plus": 0}, {"plus": 1}, {"weight": 1}, {"weight": 2}, {"lift": 1}, {"sign": -1}),
]
_numbers = itertools.count()

items = st.lists(st.integers(0, 9), max_size=12)


class PipelineBesideItsModel(RuleBasedStateMachine):
    """One store, and what a person does to it."""

    def __init__(self) -> None:
        super().__init__()
        self._ends = ExitStack()
        folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory()))
        self.root, self.ledger = folder / "store", Ledger(str(folder / "ledger"))
        #: What a killed run was about to do anew because of damage.
        self.met = Notes(str(folder / "met"))
        self.place = Place()
        self._ends.enter_context(runs_here(self.place))
        self._ends.callback(_put_back, sys.modules["__main__"], session._session)
        self.code, self.items = Code(), list[int]()
        #: The cells that were run in this kernel.
        self.cells = dict[str, str]()
        self.kept = Kept()
        #: By fingerprint the function and the part of its code that names its calls.
        self.names: dict[str, tuple[str, object]] = {}
        #: What each run needs, by who has made it.
        self.needs: dict[str, dict[Call, str]] = {}
        #: Runs that were stopped halfway, with what they were to compute.
        self.stopped: dict[str, tuple[Code, list[int]]] = {}
        #: Runs whose inputs were damaged since.
        self.without_inputs: set[str] = set()

    @initialize(given=items)
    def begin(self, given: list[int]) -> None:
        self.items = given
        self.begin_session()

    # -- what a person changes --

    def define(self) -> None:
        """Run the cells that were edited; all of them in a new kernel, and after an edit of the class itself."""
        cells = self.code.cells(self.ledger.path)
        if self.cells.get("classes") != cells["classes"]:
            self.cells = {}
        for name, source in cells.items():
            if self.cells.get(name) != source:
                self.run_cell(source)
        self.cells = cells

    def run_cell(self, source: str) -> None:
        filename = f"/tmp/ipykernel_model/{next(_numbers)}.py"
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        exec(compile(source, filename, "exec", dont_inherit=True), vars(sys.modules["__main__"]))

    @property
    def graph(self) -> Graph:
        found = vars(sys.modules["__main__"])["graph"]
        assert isinstance(found, Graph)
        return found

    @rule(change=st.sampled_from(EDITS))
    def edit_the_code(self, change: dict[str, int]) -> None:
        self.code = self.code.edited(**(change or {"remark": self.code.remark + 1}))
        self.define()

    @rule(
        how=st.sampled_from(["add", "remove", "reorder"]),
        more=st.lists(st.integers(0, 9), min_size=1, max_size=3),
        place=st.integers(0, 12),
    )
    def change_the_inputs(self, how: str, more: list[int], place: int) -> None:
        before, after = self.items[:place], self.items[place:]
        changed = {"add": [*before, *more, *after], "remove": before + after[1:], "reorder": after + before}
        self.items = changed[how][:12]

    @rule(slots=st.integers(1, 4), loses=st.booleans(), seed=st.integers(0, 2**16))
    def change_the_cluster(self, slots: int, loses: bool, seed: int) -> None:
        self.place.slots, self.place.loses, self.place.random = slots, loses, Random(seed)

    @rule()
    def begin_session(self) -> None:
        """As a kernel does that has just been started: it remembers nothing of the store, and all cells are run."""
        functions.clear()
        opening._open.clear()
        session._session = Session(read_settings(store=str(self.root), cluster="embedded"))
        sys.modules["__main__"] = types.ModuleType("__main__")
        self.cells = {}
        self.define()

    # -- runs --

    @rule(times=st.integers(1, 2))
    def run(self, times: int) -> None:
        for _ in range(times):
            self.run_once()

    def run_once(self) -> None:
        run = self.graph.run(items=self.items)
        self.check(run, self.code, self.items)

    def check(self, run: Run, code: Code, given: Sequence[int]) -> None:
        """The run is over: what it gave and what it called is what the model says."""
        wanted = self.expect(run, code, given)
        outputs = {name: run.output(name) for name in wanted.outputs}  # what is damaged is computed again by this
        assert {type(amount) for amount in outputs["parts"]} <= {vars(sys.modules["__main__"])["Amount"]}
        outputs["parts"] = [amount.x for amount in outputs["parts"]]
        made = self.made(wanted)

        assert outputs == wanted.outputs
        assert run.status == "succeeded"
        self.check_calls(run, wanted, made)
        assert self.kept.least(wanted) <= set(made), "something wasn't called, and nobody can have kept it"
        self.kept.learn(wanted, run.id, made, is_whole=True)
        self.needs[run.id] = self.kept.needed_by(wanted, run.id)
        self.stopped.pop(run.id, None)

    def check_calls(self, run: Run, wanted: Expected, made: list[Call]) -> None:
        assert set(made) <= self.kept.most(wanted), "something was called that is kept"
        twice = {call for call, count in Counter(made).items() if count > 1 and call[0] != "grouped"}
        # Where damage is met, planning begins again, and what is just being computed then may be computed twice.
        # What it met last may not have come into its events: a run that is killed notes it beside the ledger.
        assert not twice or run._state.damage or self.met.all(), f"called twice in one run: {twice}"

    def expect(self, run: Run, code: Code, given: Sequence[int]) -> Expected:
        wanted = expected(code, given, run.id)
        for part, call in run._blueprint.calls.items():
            name = run._blueprint.plan.nodes[part].of
            self.names[call.fingerprint] = (name, wanted.versions.get(name))
        return wanted

    def made(self, wanted: Expected) -> list[Call]:
        return self.kept.told_apart([wanted.named(line) for line in self.ledger.take()], wanted)

    @rule(batches=st.integers(0, 12))
    def cancel_a_run(self, batches: int) -> None:
        started: list[Run] = []

        def cancel(count: int, halted: Any) -> None:
            if count == batches:
                while not started:
                    pass
                started[0].cancel()
                halted()

        self.place.before_batch = cancel
        try:
            run = self.graph.start(items=self.items)
            started.append(run)
            assert run.wait_quietly(20.0)
        finally:
            self.place.before_batch = lambda count, halted: None
        self.stop(run, lost=0)

    @rule(calls=st.integers(1, 30))
    def kill_a_run(self, calls: int) -> None:
        Path(f"{self.ledger.path}.limit").write_text(str(calls))
        child = os.fork()
        if not child:
            _run_and_die(self.graph, self.items, self.met)
        _, status = os.waitpid(child, 0)
        Path(f"{self.ledger.path}.limit").unlink()
        run = Run.open(Run.list(limit=1)[0].id)
        died = os.waitstatus_to_exitcode(status)
        assert died in (0, 9)
        assert (run.status, died) in (("succeeded", 0), ("interrupted", 9))
        self.stop(run, lost=int(died == 9))
        self.met.take()

    def stop(self, run: Run, *, lost: int) -> None:
        """A run was to be stopped before its end; the last calls that it made are lost."""
        if run.status == "succeeded":
            self.check(run, self.code, self.items)
            return
        wanted = self.expect(run, self.code, self.items)
        made = self.made(wanted)
        self.check_calls(run, wanted, made)
        self.kept.learn(wanted, run.id, made[: len(made) - lost], is_whole=False)
        self.needs[run.id] = self.kept.made_by(run.id)
        self.stopped[run.id] = (self.code, self.items)

    @rule(which=st.integers(0, 9))
    def resume_a_run(self, which: int) -> None:
        """With the functions and inputs that it began with, whatever the notebook holds now."""
        if not self.stopped:
            return
        run_id = list(self.stopped)[which % len(self.stopped)]
        run = Run.open(run_id)

        said = ""
        try:
            run.resume()
        except RunError as error:
            said = str(error)

        if said:  # nothing gives a run its inputs again
            assert "Start a new run with the same inputs" in said
            assert run_id in self.without_inputs
            assert not self.ledger.take()
            del self.stopped[run_id]
            return
        self.check(run, *self.stopped[run_id])

    # -- what happens to the store --

    @rule(which=st.integers(0, 999), damage=st.sampled_from(DAMAGES), seed=st.integers(0, 99))
    def damage_an_object(self, which: int, damage: Any, seed: int) -> None:
        folders = [self.root / "segments", self.root / "streams", self.root / "spool"]
        paths = sorted(
            path for folder in folders for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 1
        )
        if not paths:
            return
        path = paths[which % len(paths)]
        harm(path, damage, seed)
        kind, *parts = path.relative_to(self.root).parts
        fingerprint, name = parts[:2] if kind == "spool" else parts[1:3]
        if fingerprint == INPUTS_FINGERPRINT:
            self.without_inputs |= {run_id for run_id in self.stopped if name.startswith(run_id)}
        if kind != "streams" and fingerprint in self.names:
            for run_id in {*self.kept.calls.values(), *self.kept.groups.values()}:
                if name.startswith(run_id):
                    self.kept.doubt(*self.names[fingerprint], run_id)

    @rule(keep_runs=st.integers(0, 4))
    def collect_what_no_run_needs(self, keep_runs: int) -> None:
        collected = collect(keep_runs=keep_runs, grace=0)

        dropped = sorted(self.needs)[: max(len(self.needs) - keep_runs, 0)]
        assert sorted(collected.runs) == dropped
        for run_id in dropped:
            del self.needs[run_id]
            self.stopped.pop(run_id, None)
        self.kept.doubt_all_but(self.needs.values())

    def teardown(self) -> None:
        self._ends.close()


def _run_and_die(graph: Graph, given: list[int], met: Notes) -> None:
    """In a forked process: threads are gone, so what was on them is made anew; nothing of pytest's is run."""
    try:
        loop_thread._loop = None
        driver.logger.addFilter(partial(_noted, met))
        graph.run(items=given)
        os._exit(0)
    except BaseException:
        os._exit(1)


def _noted(met: Notes, record: logging.LogRecord) -> bool:
    met.add(record.getMessage())
    return True


def _put_back(main: Any, before: Session | None) -> None:
    sys.modules["__main__"] = main
    session._session = before


PipelineBesideItsModel.TestCase.settings = settings(
    max_examples=EXAMPLES or 12,
    derandomize=EXAMPLES is None,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow],
)
TestPipelineBesideItsModel = PipelineBesideItsModel.TestCase
