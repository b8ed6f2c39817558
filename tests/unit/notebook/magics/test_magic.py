"""``%%tensorlake`` and ``%tensorlake`` in a shell: what a cell finds, shows and runs, and how it fails."""

from __future__ import annotations

import inspect
import warnings

import pytest
from IPython.core.error import UsageError as ShellUsageError

from tensorlake_nb.errors import GraphError, InputError, OptionError, RunNotFoundError, UsageError
from tests.support.shells import Shell

FUNCTIONS = """
@tensorlake_function
def double(n: int) -> int:
    return 2 * n

@tensorlake_function
def describe(n: int) -> str:
    return f"it is {n}"
"""
GRAPH = f"{FUNCTIONS}\ng = Graph('pipeline', start_node=double).add_edge(double, describe)\n"
LINE = "Graph 'pipeline': double → describe (2 functions)"


# --- the cell is an ordinary cell ------------------------------------------------------------------------------------


def test_the_api_is_at_hand_and_the_users_own_names_win(shell: Shell) -> None:
    shell.good("Retries = 'mine'")

    shell.good("%%tensorlake pipeline\n" + GRAPH)

    assert shell.names["Retries"] == "mine"
    assert shell.texts == [LINE]


def test_the_cells_result_is_that_of_its_last_expression(shell: Shell) -> None:
    assert shell.good(f"%%tensorlake pipeline\n{GRAPH}\n6 * 7") == 42
    assert shell.texts == [LINE, "42"]


def test_a_graph_that_is_the_result_is_not_shown_twice(shell: Shell) -> None:
    result = shell.good(f"%%tensorlake pipeline\n{GRAPH}\ng")

    assert result is shell.names["g"]
    assert shell.texts == [LINE]


def test_await_works_as_in_any_cell(shell: Shell) -> None:
    shell.good(
        f"%%tensorlake pipeline\nimport asyncio\nx = await asyncio.sleep(0, 5)\n{GRAPH}\nawait asyncio.sleep(0, x)"
    )

    assert shell.names["x"] == 5


def test_a_cell_may_begin_with_a_future_import(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline\nfrom __future__ import annotations\n{GRAPH}")

    assert shell.texts == [LINE]


def test_getsource_gives_the_cells_own_lines(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline\n{GRAPH}")

    source = inspect.getsource(shell.names["describe"])

    assert source == '@tensorlake_function\ndef describe(n: int) -> str:\n    return f"it is {n}"\n'


def test_a_traceback_points_at_the_cells_own_line(shell: Shell) -> None:
    error = shell.bad("%%tensorlake pipeline\nx = 1\n1 / 0\n")

    assert isinstance(error, ZeroDivisionError)
    assert "----> 3 1 / 0" in shell.out


def test_a_syntax_error_points_at_its_line(shell: Shell) -> None:
    error = shell.cell("%%tensorlake pipeline\nx = 1\ny = = 2\n").error_before_exec

    assert isinstance(error, SyntaxError)
    assert (error.lineno, error.text) == (3, "y = = 2\n")


def test_history_keeps_the_cell_as_it_was_written(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline\n{GRAPH}")

    assert shell.names["In"][-1].startswith("get_ipython().run_line_magic('tensorlake'")
    assert shell.names["_i2"].startswith("%%tensorlake pipeline\n")


def test_other_cells_and_magics_are_untouched(shell: Shell) -> None:
    assert shell.good("%%capture said\nprint('x')\n") is None
    assert shell.good("1 + 1") == 2


def test_a_cell_that_fails_leaves_nothing_open_for_the_next(shell: Shell) -> None:
    shell.bad("%%tensorlake pipeline\n1 / 0")

    assert shell.good("2") == 2
    assert shell.texts == ["2"]


def test_loading_twice_changes_nothing_and_unloading_takes_the_magics_away(shell: Shell) -> None:
    shell.good("%reload_ext tensorlake_nb")
    shell.good(f"%%tensorlake pipeline\n{GRAPH}")
    assert shell.texts == [LINE]

    shell.good("%unload_ext tensorlake_nb")

    assert shell.cell("%tensorlake runs").error_in_exec is not None or "not found" in shell.err
    assert shell.good("g.name") == "pipeline"


def test_the_magic_can_be_called_by_hand(shell: Shell) -> None:
    shell.ip.run_cell_magic("tensorlake", "pipeline", GRAPH)

    assert shell.names["g"].name == "pipeline"


# --- which graph -----------------------------------------------------------------------------------------------------


def test_the_only_new_graph_is_meant_whatever_the_name(shell: Shell) -> None:
    shell.good(f"%%tensorlake\n{GRAPH}")

    assert shell.texts == [LINE]


def test_of_several_graphs_the_named_one(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline\n{GRAPH}\nother = Graph('other', start_node=double)")

    assert shell.texts == [LINE]


def test_several_graphs_without_a_name_are_asked_about(shell: Shell) -> None:
    error = shell.bad(f"%%tensorlake\n{GRAPH}\nother = Graph('other', start_node=double)")

    assert isinstance(error, UsageError)
    assert "the cell makes 2 graphs ('pipeline', 'other')" in str(error)


def test_a_graph_of_an_earlier_cell_may_be_named(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline\n{GRAPH}")

    shell.good("%%tensorlake pipeline\ny = 1")

    assert shell.texts == [LINE]


def test_wire_makes_the_graph(shell: Shell) -> None:
    shell.good(
        f'%%tensorlake counting --wire "double -> describe; double -> halve"\n{FUNCTIONS}\n'
        "@tensorlake_function\ndef halve(n: int) -> float:\n    return n / 2\n"
    )

    assert shell.texts == ["Graph 'counting': double → describe; double → halve (3 functions)"]
    assert shell.names["counting"].name == "counting"


def test_one_function_that_no_other_routes_to_is_where_the_graph_begins(shell: Shell) -> None:
    shell.good(
        "%%tensorlake sorting\n"
        "from typing import List, Union\n"
        "@tensorlake_function()\ndef even(n: int):\n    return 'even'\n"
        "@tensorlake_function()\ndef odd(n: int):\n    return 'odd'\n"
        "@tensorlake_router()\ndef parity(n: int) -> List[Union[even, odd]]:\n    return [odd if n % 2 else even]\n"
    )

    assert shell.texts == ["Graph 'sorting': parity → even; parity → odd (3 functions)"]
    assert shell.names["sorting"].name == "sorting"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%tensorlake p\nx = 1", "the cell makes no Graph and no function"),
        (f"%%tensorlake p\n{FUNCTIONS}", "which of double, describe comes first?"),
        (f"%%tensorlake\n{FUNCTIONS}", "Give it a name to make one"),
        (
            f"%%tensorlake p --wire 'double -> nowhere'\n{FUNCTIONS}",
            "--wire 'nowhere' isn't defined (functions: double",
        ),
        (f"%%tensorlake p --wire 'double -> len'\nlen = 3\n{FUNCTIONS}", "--wire 'len' is no function"),
    ],
)
def test_a_cell_without_a_clear_graph_says_what_to_do(shell: Shell, cell: str, said: str) -> None:
    error = shell.bad(cell)

    assert isinstance(error, UsageError)
    assert said in str(error)


def test_a_graph_that_cannot_run_fails_the_cell_with_all_its_problems_and_no_traceback(shell: Shell) -> None:
    error = shell.bad(f"%%tensorlake p\n{FUNCTIONS}\ng = Graph('p', start_node=double).add_node(describe)")

    assert isinstance(error, GraphError)
    assert "describe" in str(error)
    assert "Traceback" not in shell.out
    assert "GraphError: " in shell.out
    assert "(line 1 of the cell)" in shell.out


def test_an_option_error_is_one_line_and_the_cell_is_not_run(shell: Shell) -> None:
    error = shell.bad("%%tensorlake pipeline --runn\nran = True")

    assert isinstance(error, ShellUsageError)
    assert shell.err.strip().splitlines() == [
        "UsageError: %%tensorlake: unrecognized arguments: --runn (did you mean '--run'?). See %%tensorlake --help."
    ]
    assert "ran" not in shell.names


def test_help_prints_and_runs_nothing(shell: Shell) -> None:
    shell.good("%%tensorlake --help\nran = True")

    assert shell.out.startswith("usage: %%tensorlake")
    assert "ran" not in shell.names


# --- runs ------------------------------------------------------------------------------------------------------------


def test_run_waits_and_shows_the_run(shell: Shell) -> None:
    run = shell.good(f"%%tensorlake pipeline --run n=4\n{GRAPH}")

    assert shell.texts == ["Run of 'pipeline': succeeded"]
    assert run.output("describe") == ["it is 8"]


def test_a_run_by_the_line_magic_is_the_lines_value(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline\n{GRAPH}")

    run = shell.good("%tensorlake run pipeline n=4")

    assert run.output("describe") == ["it is 8"]
    assert shell.good("%tensorlake run g n=4").counts("describe")["replayed"] == 1


def test_values_of_variables_are_given_by_dollar(shell: Shell) -> None:
    shell.good(f"count = 21\n%tensorlake store\nfrom tensorlake_nb import *\n{GRAPH}")

    assert shell.good("%tensorlake run pipeline n=$count").output("describe") == ["it is 42"]


def test_start_returns_at_once_and_the_run_can_be_awaited(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline --start n=4\n{GRAPH}")
    shell.good("run = %tensorlake start pipeline n=5")

    assert shell.good("(await run).output('describe')") == ["it is 10"]


def test_wrong_inputs_fail_the_cell_in_one_line(shell: Shell) -> None:
    error = shell.bad(f"%%tensorlake pipeline --run m=4\n{GRAPH}")

    assert isinstance(error, InputError)
    assert "Traceback" not in shell.out


def test_a_failing_run_fails_the_cell(shell: Shell) -> None:
    error = shell.bad(
        "%%tensorlake pipeline --run n=0\n@tensorlake_function\ndef divide(n: int) -> float:\n    return 1 / n\n"
    )

    assert "ZeroDivisionError" in str(error)


def test_runs_are_listed_and_shown_and_explained(shell: Shell) -> None:
    run_id = shell.good(f"%%tensorlake pipeline --run n=4\n{GRAPH}").id

    listed = repr(shell.good("%tensorlake runs"))
    why = repr(shell.good("%tensorlake why pipeline double"))

    assert run_id in listed
    assert "succeeded" in listed
    assert shell.good(f"%tensorlake show {run_id[-6:]}").id == run_id
    assert shell.good("%tensorlake show pipeline") is shell.names["g"]
    assert why.startswith("double: ")
    assert {line.split(":")[0] for line in repr(shell.good("%tensorlake why")).splitlines()} >= {"double", "describe"}


def test_a_collection_says_what_would_go_before_it_goes(shell: Shell) -> None:
    older = shell.good(f"%%tensorlake pipeline --run n=4\n{GRAPH}").id
    newer = shell.good("%tensorlake run pipeline n=5").id

    planned = repr(shell.good("%tensorlake gc --keep-runs 1 --grace 0s --dry-run"))
    assert len(shell.good("Run.list()")) == 2
    freed = shell.good("%tensorlake gc --keep-runs 1 --grace 0s")

    assert shell.out.startswith("freeing ")
    assert shell.out.count("keeps") == 1, "the table comes once, as the result"
    assert planned.splitlines()[0].split() == ["would", "free", "bytes", "keeps", "bytes"]
    assert planned.splitlines()[1].startswith("runs of pipeline  ")
    assert repr(freed).splitlines()[0].split() == ["freed", "bytes", "keeps", "bytes"]
    assert [run.id for run in shell.good("Run.list()")] == [newer]
    assert freed.runs == (older,)


def test_a_collection_that_frees_nothing_says_why(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline --run n=4\n{GRAPH}")

    default = repr(shell.good("%tensorlake gc"))
    chosen = repr(shell.good("%tensorlake gc --keep-runs 0"))

    assert "freeing" not in shell.out
    reason = "what is younger than 2 h (grace) stays"
    assert default.endswith(
        f"nothing to free: every run stays without keep_runs, older_than or max_bytes, and {reason}"
    )
    assert chosen.endswith(f"nothing to free: {reason}")


def test_a_mistaken_magic_leaves_the_next_cells_alone(shell: Shell) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "VERB" in str(shell.bad("%tensorlake"))

    assert shell.good(f"%%tensorlake pipeline\n{GRAPH}") is shell.names["g"]


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("%tensorlake gc --older-than 7", OptionError, "older_than='7' has no unit; write 7d, 12h or 30m"),
        ("%tensorlake gc --older-than soon", OptionError, "isn't a duration"),
        ("%tensorlake gc --max-bytes much", OptionError, "isn't a size; write 10GB"),
        ("%tensorlake gc --keep-runs=-1", OptionError, "keep_runs can't be less than 0"),
        ("%tensorlake run nothing", UsageError, "no graph 'nothing' in this notebook (graphs: pipeline)"),
        ("%tensorlake why other", RunNotFoundError, "'other'"),
        ("%tensorlake why pipeline", UsageError, "hasn't been run in this store"),
        ("%tensorlake resume 123456", RunNotFoundError, "'123456'"),
        ("%tensorlake sho", ShellUsageError, "there is no 'sho' (did you mean 'show'?)"),
    ],
)
def test_a_line_about_something_unknown_says_what_there_is(
    shell: Shell, line: str, kind: type[Exception], said: str
) -> None:
    shell.good(f"%%tensorlake pipeline\n{GRAPH}")

    error = shell.bad(line)

    assert isinstance(error, kind)
    assert said in str(error)


def test_store_and_cluster_are_set_and_said(shell: Shell) -> None:
    shell.good("%tensorlake store elsewhere")
    assert shell.out == "store: elsewhere\n"

    shell.good("%tensorlake cluster")
    assert shell.out == "cluster: threads\n"

    rows = {row[0]: row[1:] for row in shell.good("%tensorlake config").rows}
    assert rows["store"] == ("elsewhere", "configure()")
    assert rows["workers"] == ("None", "default")


def test_a_cell_can_choose_store_and_cluster(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline --store here --cluster threads\n{GRAPH}")
    shell.good("%tensorlake store")

    assert shell.out == "store: here\n"


def test_a_verification_reads_as_text_and_as_html(shell: Shell) -> None:
    noisy = FUNCTIONS.replace('f"it is {n}"', "f'<b>{random.random()}</b>'")
    graph = "g = Graph('pipeline', start_node=double).add_edge(double, describe)"
    shell.good(f"%%tensorlake pipeline --run n=4\nimport random\n{noisy}\n{graph}")

    found = shell.good("%tensorlake verify pipeline n=4 --sample 1")
    newest = shell.good("%tensorlake verify pipeline")

    assert found.different == newest.different == ("describe",)
    forms = shell.forms(found)
    assert forms["text/plain"].splitlines()[2] == "describe  1         1        0      1          0"
    assert "describe gave something else for 1 of 1" in forms["text/plain"]
    assert "<td>describe</td>" in forms["text/html"]
    assert "&lt;b&gt;" in forms["text/html"]
    assert "<b>" not in forms["text/html"]
    assert "cacheable=False" in forms["text/html"]


# --- redefinitions ---------------------------------------------------------------------------------------------------


def test_a_function_that_is_defined_again_takes_its_place_in_the_graphs_that_hold_it(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline --run n=4\n{GRAPH}")

    shell.good("@tensorlake_function\ndef describe(n: int) -> str:\n    return f'now it is {n}'")

    assert shell.out == "graph 'pipeline': describe was changed and will be computed again\n"
    run = shell.good("%tensorlake run pipeline n=4")
    assert run.output("describe") == ["now it is 8"]
    assert (run.counts("double")["replayed"], run.counts("describe")["computed"]) == (1, 1)


def test_what_follows_a_changed_function_is_named(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline\n{GRAPH}")

    shell.good("@tensorlake_function\ndef double(n: int) -> int:\n    return n + n")

    assert shell.out == (
        "graph 'pipeline': double was changed and will be computed again, and describe where its outputs differ\n"
    )


def test_a_comment_makes_nothing_stale_and_says_nothing(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline --run n=4\n{GRAPH}")

    shell.good("@tensorlake_function\ndef double(n: int) -> int:\n    # twice\n    return 2 * n")

    assert shell.out == ""
    assert shell.good("%tensorlake run pipeline n=4").counts("double")["replayed"] == 1


def test_running_in_the_cell_that_redefines_uses_the_new_function(shell: Shell) -> None:
    shell.good(f"%%tensorlake pipeline --run n=4\n{GRAPH}")

    run = shell.good(
        "%%tensorlake pipeline --run n=4\n@tensorlake_function\ndef describe(n: int) -> str:\n    return f'{n}!'"
    )

    assert run.output("describe") == ["8!"]
