"""Magic lines → options. A mistake is one line of `UsageError`, ``--help`` prints, and neither runs anything."""

from __future__ import annotations

import argparse
import ast
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NoReturn

from IPython.core.error import UsageError

from tensorlake_nb.core.identifiers import did_you_mean


class HelpShown(Exception):
    """``--help`` was asked for and printed; there is nothing left to do."""


class Parser(argparse.ArgumentParser):
    """argparse for a magic line: it raises where a program would exit, and says what was meant."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Read all words; argparse has no more to say of one that it doesn't know than that."""
        given: argparse.Namespace
        given, unknown = self.parse_known_args(args, namespace)
        if unknown:
            if {"->", "→"} & set(unknown):
                self.error("paths with spaces in them need quotes, as in --wire 'a -> b'")
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(unknown[0], self.flags())}")
        return given

    def flags(self) -> list[str]:
        """Return all long options, those of verbs included."""
        verbs = [
            each for action in self._actions if isinstance(action.choices, dict) for each in action.choices.values()
        ]
        own = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
        return sorted({*own, *(flag for verb in verbs for flag in verb.flags())})

    def error(self, message: str) -> NoReturn:
        """Raise what the shell shows as one line."""
        raise UsageError(f"{self.prog}: {message}. See {self.prog.split(' ')[0]} --help.")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the magic, not the kernel: argparse calls this after it printed the help."""
        raise HelpShown


@dataclass(frozen=True, slots=True)
class CellOptions:
    """The arguments of ``%%tensorlake``.

    ``mode`` says whether a run follows, and whether the cell waits for it.
    """

    name: str | None = None
    mode: str = "show"
    inputs: dict[str, Any] = field(default_factory=dict)
    wire: tuple[tuple[str, ...], ...] = ()
    store: str | None = None
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """``%tensorlake VERB ...``: the verb, what it is about, and its inputs."""

    verb: str
    subject: str | None = None
    function: str | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    limit: int = 20
    detach: bool = False
    sample: float = 0.01
    seed: int = 0
    collection: dict[str, Any] = field(default_factory=dict)
    line: str = ""


def words_of(line: str, magic: str) -> list[str]:
    """Split a magic line as a shell does.

    Raises
    ------
    UsageError
        For a quote that isn't closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{magic}: {error} in {line!r}") from None


def read_inputs(words: Sequence[str], magic: str) -> dict[str, Any]:
    """``n=3 urls='["a"]' name=ann`` → values: Python literals where they are, else the text itself.

    Raises
    ------
    UsageError
        For a word without ``=``, or whose name can't be a parameter, or a name given twice.
    """
    inputs: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"{magic}: {word!r} isn't an input; write name=value")
        if name in inputs:
            raise UsageError(f"{magic}: input {name!r} is given twice")
        inputs[name] = read_value(text)
    return inputs


def read_value(text: str) -> Any:
    """Return the Python literal that a text is, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def read_wire(text: str, magic: str) -> tuple[tuple[str, ...], ...]:
    """``"fetch -> parse -> total; parse -> index"`` → ``(("fetch", "parse", "total"), ("parse", "index"))``.

    The first name is the start node. An arrow may also be written ``→``.

    Raises
    ------
    UsageError
        For an empty wire or an arrow that points from or to nothing.
    """
    paths = []
    for part in text.split(";"):
        names = tuple(name.strip() for name in part.replace("→", "->").split("->"))
        if names == ("",):
            continue
        if not all(name.isidentifier() for name in names):
            raise UsageError(f"{magic}: --wire {part.strip()!r} isn't a path; write it as 'a -> b -> c; a -> d'")
        paths.append(names)
    if not paths:
        raise UsageError(f"{magic}: --wire names no function")
    return tuple(paths)


def _cell_parser() -> Parser:
    parser = Parser(
        prog="%%tensorlake",
        description="Run the cell as it is, then find its Graph, check it and show it; with --run or --start, run it.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example:  %%tensorlake pipeline --wire "fetch -> parse -> total" --run url=https://example.org n=3',
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="the graph's name: found, or given to what --wire makes"
    )
    runs = parser.add_mutually_exclusive_group()
    runs.add_argument("--run", nargs="*", metavar="k=v", help="run it on these inputs and wait")
    runs.add_argument("--start", nargs="*", metavar="k=v", help="run it in the background")
    parser.add_argument("--wire", metavar="PATHS", help="make the graph: 'a -> b -> c; a -> d', starting at the first")
    parser.add_argument("--store", metavar="URL", help="store outputs there from now on")
    parser.add_argument(
        "--cluster", metavar="ADDR", help="run functions there from now on: an address, 'embedded' or 'threads'"
    )
    return parser


def read_cell_options(line: str) -> CellOptions:
    """Read what stands behind ``%%tensorlake``.

    Raises
    ------
    UsageError
        One line that says what is wrong.
    HelpShown
        After ``--help``.
    """
    magic = "%%tensorlake"
    given = _cell_parser().parse_args(words_of(line, magic))
    if given.name is not None and "=" in given.name:
        raise UsageError(f"{magic}: {given.name!r} stands where the graph's name goes; inputs follow --run or --start")
    if given.wire is not None and given.name is None:
        raise UsageError(f"{magic}: --wire makes a graph, so it needs a NAME")
    mode = "run" if given.run is not None else "start" if given.start is not None else "show"
    return CellOptions(
        name=given.name,
        mode=mode,
        inputs=read_inputs(given.run or given.start or (), magic),
        wire=read_wire(given.wire, magic) if given.wire is not None else (),
        store=given.store,
        cluster=given.cluster,
    )


#: Each verb of ``%tensorlake``, and the one line about it.
VERBS = {
    "run": "run a graph and wait for it",
    "start": "run a graph in the background",
    "plan": "forecast what a run would replay and compute",
    "verify": "compute a sample of stored outputs again, and name the functions whose outputs differ",
    "show": "draw a graph, or a run's present state; without a name the latest run, else the only graph",
    "runs": "list the runs of the store, newest first",
    "resume": "resume a run that was interrupted, cancelled or failed",
    "why": "why functions were computed again in a run",
    "store": "show or set where outputs are stored",
    "cluster": "show or set where functions run",
    "gc": "free outputs that no remaining run needs; without options every run stays",
    "config": "show all settings and where they come from",
}


#: Flags of verbs that take inputs, and how many words belong to each.
_VALUES_AFTER = {"--detach": 0, "--sample": 1, "--seed": 1}


def _command_parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(prog="%tensorlake", description="Graphs and runs of this kernel and its store.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    by_verb: dict[str, Parser] = {}
    for verb, about in VERBS.items():
        by_verb[verb] = verbs.add_parser(verb, help=about, description=f"{about[0].upper()}{about[1:]}.")
    for verb in ("run", "start", "plan", "verify"):
        by_verb[verb].add_argument("subject", metavar="GRAPH", help="a graph's name, or its variable")
        by_verb[verb].add_argument(
            "inputs", nargs="*", default=[], metavar="k=v", help="a Python literal, else text; $name expands"
        )
    by_verb["start"].add_argument("--detach", action="store_true", help="let the cluster drive it: the kernel may end")
    by_verb["verify"].add_argument(
        "--sample", type=float, default=0.01, metavar="F", help="the share of each function's outputs (0.01)"
    )
    by_verb["verify"].add_argument("--seed", type=int, default=0, metavar="N", help="chooses which (0)")
    by_verb["show"].add_argument("subject", nargs="?", metavar="GRAPH|RUN")
    by_verb["runs"].add_argument("subject", nargs="?", metavar="GRAPH", help="only its runs")
    by_verb["runs"].add_argument("--limit", type=int, default=20, metavar="N", help="how many (20)")
    by_verb["resume"].add_argument("subject", metavar="RUN", help="a run's id, or the end of it")
    by_verb["why"].add_argument("subject", nargs="?", metavar="GRAPH|RUN", help="by default the latest run")
    by_verb["why"].add_argument("function", nargs="?", metavar="FUNCTION", help="by default every function")
    by_verb["store"].add_argument("subject", nargs="?", metavar="URL")
    by_verb["cluster"].add_argument("subject", nargs="?", metavar="ADDR", help="an address, 'embedded' or 'threads'")
    add_collection_options(by_verb["gc"])
    return parser, by_verb


#: The options of a collection: what they are followed by, and what they do.
COLLECTION = {
    "keep_runs": ("N", "drop all but the N newest runs of each graph"),
    "older_than": ("D", "drop runs that ended longer ago than this: 7d, 12h, 30m"),
    "max_bytes": ("B", "drop the oldest runs while the rest takes more than this: 10GB, 500MiB"),
    "grace": ("D", "keep everything younger than this (2h)"),
}


def add_collection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``gc`` to a parser, of a magic or of a command."""
    parser.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    for name, (value, about) in COLLECTION.items():
        kind = int if value == "N" else str
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=value, help=about)


def collection_options(given: argparse.Namespace) -> dict[str, Any]:
    """Return the parsed options as arguments of `tensorlake_nb.collect`."""
    found = {name: getattr(given, name, None) for name in COLLECTION}
    return {"dry_run": given.dry_run, **{name: value for name, value in found.items() if value is not None}}


def read_command(line: str) -> Command:
    """Read what stands behind ``%tensorlake``.

    Raises
    ------
    UsageError
        One line that says what is wrong.
    HelpShown
        After ``--help``.
    """
    words = _flags_last(words_of(line, "%tensorlake"))
    if words and not words[0].startswith("-") and words[0] not in VERBS:
        hint = did_you_mean(words[0], VERBS)
        raise UsageError(f"%tensorlake: there is no {words[0]!r}{hint}. The verbs are {', '.join(VERBS)}.")
    given = _command_parser()[0].parse_args(words)
    magic = f"%tensorlake {given.verb}"
    limit = getattr(given, "limit", 20)
    if limit < 1:
        raise UsageError(f"{magic}: --limit must be at least 1, not {limit}")
    return Command(
        verb=given.verb,
        subject=getattr(given, "subject", None),
        function=getattr(given, "function", None),
        inputs=read_inputs(getattr(given, "inputs", ()), magic),
        limit=limit,
        detach=getattr(given, "detach", False),
        sample=getattr(given, "sample", 0.01),
        seed=getattr(given, "seed", 0),
        collection=collection_options(given) if given.verb == "gc" else {},
        line=line,
    )


def _flags_last(words: Sequence[str]) -> list[str]:
    """Put flags behind the inputs: argparse takes them before or after a list of words, not between its words."""
    inputs, flags = list[str](), list[str]()
    rest = iter(words)
    for word in rest:
        if word in _VALUES_AFTER:
            flags += [word, *islice(rest, _VALUES_AFTER[word])]
        else:
            inputs.append(word)
    return [*inputs, *flags]


def flags_of(verb: str | None) -> list[str]:
    """Return the options that a verb takes, or those of the cell magic for None: what completion offers."""
    parser = _cell_parser() if verb is None else _command_parser()[1].get(verb)
    return parser.flags() if parser is not None else []
