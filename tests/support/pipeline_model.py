"""A pipeline with one node of each kind, and a plain-Python model of what it gives and of which calls it needs.

The model knows calls by function, version and input. It shares no code with what it is compared with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.notes import Notes

#: Neighbours that a leaf of a combine tree folds.
GROUP = 8


@dataclass(frozen=True)
class Ledger(Notes):
    """Remembers calls, and ends the process like a kill when there are as many as a file beside it says."""

    def call(self, *what: object) -> None:
        self.add(json.dumps(what))
        limit = Path(f"{self.path}.limit")
        if limit.exists() and len(self.all()) >= int(limit.read_text()):
            os._exit(9)


#: The cells of a notebook. The base's method is set anew in place, as what reloads edited modules does.
CELLS = {
    "helpers": """
PLUS = {plus}

def weighed(x):
    # remark {remark}
    return x * {weight} % 11
""",
    "classes": '''
from dataclasses import dataclass

class Base:
    x: int

@dataclass(frozen=True)
class Amount(Base):
    """Remark {remark}."""

    x: int

    def worth(self) -> int:
        return {sign} * weighed(self.raised()) + PLUS
''',
    "base": """
def raised(self):
    return self.x + {lift}

Base.raised = raised
""",
    "functions": '''
from tensorlake_nb import Graph, tensorlake_function, tensorlake_router
from tests.support.pipeline_model import Ledger

LEDGER = Ledger({path!r})

def shifted(x):
    # remark {remark}
    return (x * {factor} + 1) % 7

def length(x):
    """Remark {remark}."""
    return (x * {step}) % 3

@tensorlake_function()
def spread(items: list) -> list:
    LEDGER.call("spread", items)
    return items

@tensorlake_function()
def scale(x: int) -> int:
    LEDGER.call("scale", x)
    return shifted(x)

@tensorlake_function()
def half(x: int) -> int:
    LEDGER.call("half", x)  # remark {remark}
    return x // 2

@tensorlake_function()
def pair(left: int, right: int) -> int:
    LEDGER.call("pair", left, right)
    return 10 * left + right

@tensorlake_function()
def several(x: int) -> list:
    LEDGER.call("several", x)
    return [x + i for i in range(length(x))]

@tensorlake_function()
def low(x: int) -> int:
    LEDGER.call("low", x)
    return -x

@tensorlake_function()
def high(x: int) -> int:
    LEDGER.call("high", x)
    return x * 10

@tensorlake_router()
def either(x: int) -> list[low | high]:
    LEDGER.call("either", x)
    return [low] if x < {border} else [high]

@tensorlake_function(accumulate=list)
def total(acc: list, x: int) -> list:
    LEDGER.call("total", [element for element, _ in acc], x)
    return [*acc, [x, {mark}]]

@tensorlake_function(accumulate=list, combine=lambda left, right: left + right)
def grouped(acc: list, x: int) -> list:
    LEDGER.call("grouped", acc, x)
    return [*acc, x]

@tensorlake_function()
def parts(x: int):
    LEDGER.call("parts", x)
    for i in range(x % 3):
        yield Amount(x * 2 + i)

@tensorlake_function()
async def waited(it: Amount) -> int:
    LEDGER.call("waited", it.x)
    return it.worth()

@tensorlake_function(cacheable=False)
def anew(x: int) -> int:
    LEDGER.call("anew", x)
    return x % 2

@tensorlake_function()
def late(x: int) -> int:
    LEDGER.call("late", x)
    return x

graph = Graph("modelled", spread)
graph.add_edge(spread, scale).add_edge(spread, half)
graph.add_edge(scale, pair, into="left").add_edge(half, pair, into="right")
graph.add_edge(scale, several).add_edge(several, grouped)
graph.add_edge(several, either).route(either, [low, high]).add_edge(low, total).add_edge(high, total)
graph.add_edge(half, parts).add_edge(parts, waited)
graph.add_edge(half, anew).add_edge(anew, late)
''',
}


@dataclass(frozen=True)
class Code:
    """A version of the functions: what a person may edit. ``remark`` is in comments and docstrings alone."""

    factor: int = 2
    step: int = 1
    border: int = 4
    mark: int = 0
    plus: int = 0
    weight: int = 1
    lift: int = 0
    sign: int = 1
    remark: int = 0

    def cells(self, path: str) -> dict[str, str]:
        return {name: cell.format(path=path, **vars(self)) for name, cell in CELLS.items()}

    @property
    def amount(self) -> object:
        """The key of all calls of functions that reach the class."""
        return (self.plus, self.weight, self.lift, self.sign)

    def worth(self, x: int) -> int:
        return self.sign * ((x + self.lift) * self.weight % 11) + self.plus

    def edited(self, **changes: int) -> Code:
        return replace(self, **changes)


#: One call: the function, the part of the code that names it, and its input as JSON.
Call = tuple[str, object, str]


def nth(call: Call, number: int) -> Call:
    """One of several equal calls of a function that isn't cacheable: each of them is made."""
    name, version, given = call
    return (name, version, f"{given} #{number}")


@dataclass
class Expected:
    """The outputs of a run, and its calls."""

    outputs: dict[str, list[Any]] = field(default_factory=dict)
    calls: dict[str, list[Call]] = field(default_factory=dict)
    #: Per group of the combine tree its calls, in order.
    groups: list[list[Call]] = field(default_factory=list)
    versions: Mapping[str, object] = field(default_factory=dict)
    #: Calls without outputs of their own.
    empty: set[Call] = field(default_factory=set)

    def named(self, line: str) -> Call:
        """The call that a line of the ledger stands for."""
        name, *given = json.loads(line)
        return (name, self.versions.get(name), json.dumps(given))


def expected(code: Code, items: Sequence[int], run_id: str) -> Expected:
    """Interpret the pipeline."""
    versions = {
        "scale": code.factor,
        "several": code.step,
        "either": code.border,
        "total": code.mark,
        "parts": code.amount,
        "waited": code.amount,
        "anew": run_id,
    }
    found = Expected(versions=versions)

    def called(name: str, *given: Any) -> Call:
        call = found.named(json.dumps([name, *given]))
        found.calls.setdefault(name, []).append(call)
        return call

    def mapped(name: str, given: Sequence[Any], function: Any) -> list[Any]:
        outputs: list[Any] = []
        for x in given:
            call, made = called(name, x), function(x)
            if not made or name == "either":  # whose outputs are what it was given
                found.empty.add(call)
            outputs += made
        found.outputs[name] = outputs
        return outputs

    spread = called("spread", list(items))
    if not items:
        found.empty.add(spread)
    found.outputs["spread"] = list(items)
    scaled = mapped("scale", items, lambda x: [(x * code.factor + 1) % 7])
    halves = mapped("half", items, lambda x: [x // 2])
    found.outputs["pair"] = []
    for left, right in zip(scaled, halves, strict=True):
        called("pair", left, right)
        found.outputs["pair"].append(10 * left + right)
    several = mapped("several", scaled, lambda x: [x + i for i in range((x * code.step) % 3)])
    mapped("either", several, lambda x: [x])
    lows = mapped("low", [x for x in several if x < code.border], lambda x: [-x])
    highs = mapped("high", [x for x in several if x >= code.border], lambda x: [x * 10])
    folded = [*lows, *highs]
    for i, x in enumerate(folded):
        called("total", folded[:i], x)
    found.outputs["total"] = [[[x, code.mark] for x in folded]]
    for start in range(0, len(several), GROUP):
        group = several[start : start + GROUP]
        found.groups.append([called("grouped", group[:i], x) for i, x in enumerate(group)])
    found.outputs["grouped"] = [several]
    parts = mapped("parts", halves, lambda x: [x * 2 + i for i in range(x % 3)])
    mapped("waited", parts, lambda x: [code.worth(x)])
    late = mapped("anew", halves, lambda x: [x % 2])
    anew = found.calls.get("anew", [])
    found.calls["anew"] = [nth(call, anew[:i].count(call)) for i, call in enumerate(anew)]
    mapped("late", late, lambda x: [x])
    return found


@dataclass
class Kept:
    """Which calls a store holds the outputs of.

    Attributes
    ----------
    calls
        For sure, and which run has made each of them.
    doubtful
        Perhaps: it is in something that was damaged, or that nobody needs.
    groups, doubtful_groups
        The same of whole groups of a combine tree, by their last calls.
    """

    calls: dict[Call, str] = field(default_factory=dict)
    doubtful: set[Call] = field(default_factory=set)
    groups: dict[Call, str] = field(default_factory=dict)
    doubtful_groups: set[Call] = field(default_factory=set)

    def told_apart(self, made: Sequence[Call], run: Expected) -> list[Call]:
        """Calls that were made, of which equal ones of what isn't cacheable stand for those that were missing."""
        wanted = run.calls.get("anew", [])
        found: list[Call] = []
        for i, call in enumerate(made):
            if call[0] == "anew":
                alike = [each for each in wanted if each[2].startswith(f"{call[2]} #")]
                missing = [each for each in alike if each not in self.calls]
                missing.sort(key=lambda each: each in self.doubtful)
                before = made[:i].count(call)
                call = missing[before % len(missing)] if missing else alike[0]
            found.append(call)
        return found

    def least(self, run: Expected) -> set[Call]:
        """Return the calls that a run must make, whatever is left of doubtful outputs."""
        return set(self._missing(run, perhaps=True))

    def most(self, run: Expected) -> set[Call]:
        """Return the most calls that it may make."""
        return set(self._missing(run, perhaps=False))

    def _missing(self, run: Expected, *, perhaps: bool) -> Iterator[Call]:
        held = self.calls.keys() | (self.doubtful if perhaps else set())
        for name, calls in run.calls.items():
            if name == "grouped":
                continue
            if name == "total" and perhaps:  # it goes on from the last accumulator that it finds
                known = [i for i, call in enumerate(calls) if call in held]
                yield from calls[known[-1] + 1 if known else 0 :]
            else:
                yield from (call for call in calls if call not in held)
        groups = self.groups.keys() | (self.doubtful_groups if perhaps else set())
        for group in run.groups:
            if group[-1] not in groups:
                yield from group[-1:] if perhaps else group

    def learn(self, run: Expected, run_id: str, made: Sequence[Call], *, is_whole: bool) -> None:
        """A run has made these calls to their end; all of them that it needed, if it is whole."""
        for call in made:
            self.doubtful.discard(call)
            self.calls[call] = run_id
        for group in run.groups:
            if is_whole and group[-1] in made:
                self.groups[group[-1]] = run_id
                self.doubtful_groups.discard(group[-1])
            elif group[-1] in made:  # or the same step of a longer group was
                self.doubtful_groups.add(group[-1])

    def needed_by(self, run: Expected, run_id: str) -> dict[Call, str]:
        """What a run that is whole was settled from, and who has made it; of a fold its last accumulator alone.

        Calls without outputs of their own may have been replayed by their stream, which then names nothing of them.
        """
        calls = [call for name, calls in run.calls.items() if name not in ("total", "grouped") for call in calls]
        calls += run.calls.get("total", [])[-1:]
        found = {call: by for call in calls if (by := self.calls.get(call)) and (by == run_id or call not in run.empty)}
        return found | {group[-1]: self.groups[group[-1]] for group in run.groups if group[-1] in self.groups}

    def made_by(self, run_id: str) -> dict[Call, str]:
        """What a run has made itself, but for the accumulators on the way."""
        return {call: by for call, by in self.calls.items() if by == run_id and call[0] not in ("total", "grouped")}

    def doubt_all_but(self, needs: Iterable[Mapping[Call, str]]) -> None:
        """What no run needs that stays is removed, or not, if it lies beside something else."""
        needed = {item for each in needs for item in each.items()}
        for held, doubtful in ((self.calls, self.doubtful), (self.groups, self.doubtful_groups)):
            freed = [item for item in held.items() if item not in needed]
            doubtful.update(call for call, _ in freed)
            for call, _ in freed:
                del held[call]

    def doubt(self, name: str, version: object, run_id: str) -> None:
        """Something that a run has kept for a version of a function is damaged."""
        for held, doubtful in ((self.calls, self.doubtful), (self.groups, self.doubtful_groups)):
            lost = [call for call, by in held.items() if call[:2] == (name, version) and by == run_id]
            doubtful.update(lost)
            for call in lost:
                del held[call]
