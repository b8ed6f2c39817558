"""Whether a fingerprint tells two programs apart, and only where it has to."""

from __future__ import annotations

import importlib
import linecache
import re
import shutil
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tensorlake_nb.core.fingerprint.fingerprint import FunctionPrint, explain, fingerprint
from tests.edits.programs import Program

INPUTS = (0, 1, 4)
_numbers = count()


class UnusableError(Exception):
    """A program that Python itself doesn't run."""


@dataclass(frozen=True)
class Pair:
    """A program before and after an edit; ``what`` says which."""

    what: str
    before: Program
    after: Program
    neutral: bool = False

    def script(self) -> str:
        """Source that judges the pair once more."""
        programs = [
            f"Program(\n    cells=(\n{_listed(one.cells)}    ),\n    files={{\n{_mapped(one.files)}    }},\n)"
            for one in (self.before, self.after)
        ]
        return (
            "from tests.edits.programs import Program\nfrom tests.edits.trial import Pair, judged\n\n"
            f"before = {programs[0]}\nafter = {programs[1]}\n"
            f"print(judged(Pair({self.what!r}, before, after, neutral={self.neutral})))\n"
        )


def _listed(texts: tuple[str, ...]) -> str:
    return "".join(f'        """{text}""",\n' for text in texts)


def _mapped(files: dict[str, str]) -> str:
    return "".join(f'        {path!r}: """{text}""",\n' for path, text in files.items())


@dataclass(frozen=True)
class Verdict:
    """What was found of a pair.

    Attributes
    ----------
    kind
        ``right``; ``stale``: the outcomes differ and the fingerprints don't; ``missed``: a neutral edit, or none at
        all, changes the fingerprint; ``touched``: calling the function does; ``confined``: it says that it isn't
        replayed by later runs.
    """

    kind: str
    told: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.told}" if self.told else self.kind


@contextmanager
def loaded(program: Program, folder: Path) -> Iterator[types.ModuleType]:
    """A program as a kernel has it: its cells run in a ``__main__`` of their own, its modules lie in a folder."""
    for path, text in program.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    main, known = sys.modules["__main__"], {*sys.modules}
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for cell in program.cells:
                filename = f"/tmp/ipykernel_{next(_numbers)}/{next(_numbers)}.py"
                linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
                try:
                    exec(compile(cell, filename, "exec", dont_inherit=True), vars(module))
                except Exception as error:
                    raise UnusableError(f"{type(error).__name__}: {error}") from error
            yield module
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(str(folder))
        sys.modules["__main__"] = main
        for name in {*sys.modules} - known:
            if re.match(r"[mp]\d+($|\.)", name):
                del sys.modules[name]


def outcome(function: Any) -> list[str]:
    """What plain Python gives."""
    found = []
    for given in INPUTS:
        try:
            found.append(repr(function(given)))
        except Exception as error:
            found.append(f"{type(error).__name__}")
    return found


def observed(program: Program) -> tuple[FunctionPrint, list[str], FunctionPrint]:
    """The fingerprint of a program, what it gives, and its fingerprint after it was called."""
    folder = Path(tempfile.mkdtemp(prefix="edits-"))
    try:
        with loaded(program, folder) as module:
            before = fingerprint(module.f)
            return before, outcome(module.f), fingerprint(module.f)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def judged(pair: Pair) -> Verdict:
    """Compare the two programs of a pair."""
    old, given, old_later = observed(pair.before)
    new, gives, _ = observed(pair.after)
    if given != gives:
        if pair.neutral:
            return Verdict("not neutral", f"{given} becomes {gives}")
        if old.fingerprint == new.fingerprint and not new.unkeyed:
            return Verdict("stale", f"{given} becomes {gives}; not seen: {[*new.opaque]}")
    if new.unkeyed:
        return Verdict("confined", "; ".join(new.unkeyed))
    if pair.neutral and old.fingerprint != new.fingerprint:
        return Verdict("missed", _difference(old, new))
    if old.fingerprint != old_later.fingerprint:
        return Verdict("touched", _difference(old, old_later))
    return Verdict("right")


def _difference(old: FunctionPrint, new: FunctionPrint) -> str:
    changes = explain(old.parts, old.sources, new.parts, new.sources)
    return "; ".join(f"{change} ({change.diff})" for change in changes)
