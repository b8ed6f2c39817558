"""``tensorlake-nb``: run a notebook, and look into a store, from a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import tensorlake_nb
from tensorlake_nb.errors import OptionError, TensorlakeError, readable

USAGE_ERROR = 2
_PARAMETER = "instead of what the cell tagged 'parameters' assigns; may be repeated"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for a failure, 2 for a wrong call, 130 when interrupted."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.perform(given))
    except OptionError as error:
        print(f"tensorlake-nb: {readable(str(error))}", file=sys.stderr)
        return USAGE_ERROR
    except TensorlakeError as error:
        print(f"tensorlake-nb: {readable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # ``| head`` has seen enough
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tensorlake-nb", description="Durable notebook pipelines on Dask.")
    parser.add_argument("--version", action="version", version=f"tensorlake-nb {tensorlake_nb.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="execute a notebook", description="Execute a notebook's cells in order.")
    run.add_argument("notebook", type=Path, metavar="NOTEBOOK.ipynb")
    run.add_argument("-p", "--parameter", action="append", default=[], metavar="name=value", help=_PARAMETER)
    run.add_argument("--output", type=Path, metavar="OUT.ipynb", help="save the executed notebook, failed or not")
    run.add_argument("--kernel", metavar="NAME", help="a Jupyter kernel; by default this Python")
    run.add_argument("--timeout", type=_seconds, metavar="S", help="seconds that one cell may take")
    run.set_defaults(perform=_run)

    runs = commands.add_parser("runs", help="list the runs of a store, newest first")
    runs.add_argument("--limit", type=int, default=20, metavar="N", help="how many (20)")
    runs.set_defaults(perform=_runs)

    show = commands.add_parser("show", help="show a run's progress or result")
    show.add_argument("run", nargs="?", metavar="RUN", help="its id, or the end of its id; by default the latest")
    show.set_defaults(perform=_show)

    gc = commands.add_parser("gc", help="free outputs that no remaining run needs; without options every run stays")
    import_module("tensorlake_nb.notebook.magics.options").add_collection_options(gc)
    gc.set_defaults(perform=_gc)
    for reader in (runs, show, gc):
        reader.add_argument("--store", metavar="URL", help="by default TENSORLAKE_NB_STORE, else ./.tensorlake")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
    return value


def _run(given: argparse.Namespace) -> int:
    parameters: dict[str, Any] = {}
    options = import_module("tensorlake_nb.notebook.magics.options")
    for word in given.parameter:
        name, equals, text = word.partition("=")
        if not equals:
            raise OptionError(f"-p {word!r} isn't a parameter; write name=value")
        parameters[name] = options.read_value(text)
    headless = import_module("tensorlake_nb.notebook.terminal.headless")  # Jupyter's client is loaded only to execute
    return int(
        headless.run_notebook(
            given.notebook,
            parameters=parameters,
            output=given.output,
            kernel=given.kernel,
            timeout_s=given.timeout,
        )
    )


def _runs(given: argparse.Namespace) -> int:
    reports = _reports(given.store)
    print(readable(reports.runs_text(reports.latest_runs(given.limit))))
    return 0


def _show(given: argparse.Namespace) -> int:
    reports = _reports(given.store)
    print(readable(reports.run_text(reports.find_run(given.run))))
    return 0


def _gc(given: argparse.Namespace) -> int:
    options = import_module("tensorlake_nb.notebook.magics.options").collection_options(given)
    print(_reports(given.store).collected(options))
    return 0


def _reports(store: str | None) -> Any:
    if store is not None:
        tensorlake_nb.configure(store=store)
    return import_module("tensorlake_nb.notebook.terminal.reports")


if __name__ == "__main__":
    sys.exit(main())
