"""``%%tensorlake`` cells are ordinary cells: one line replaced, one call added, everything else untouched."""

from __future__ import annotations

import ast

import pytest

from tensorlake_nb.notebook.magics.cell_transform import ClosingCall, open_cell

CELL = "%%tensorlake pipeline --run n=3\nx = 1\nx + 1\n"


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def rewritten(text: str) -> ast.Module:
    return ClosingCall().visit_Module(ast.parse("".join(open_cell(lines(text)))))


def test_the_magic_line_becomes_one_line_of_code() -> None:
    opened = open_cell(lines(CELL))

    assert opened == [
        "get_ipython().run_line_magic('tensorlake', 'cell pipeline --run n=3')\n",
        "x = 1\n",
        "x + 1\n",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\n",
        "%%time\nx = 1\n",
        "%tensorlake runs\n",
        "%%tensorlake_more a\n",
        "%%tensorlake?\n",
        "# a\n%%tensorlake p\n",
        "",
    ],
)
def test_other_cells_are_left_alone(text: str) -> None:
    assert open_cell(lines(text)) == lines(text)


def test_a_cell_that_asks_for_help_is_not_run() -> None:
    assert open_cell(lines("%%tensorlake --help\nlaunch_missiles()\n")) == [
        "get_ipython().run_line_magic('tensorlake', 'cell --help')\n"
    ]


def test_quotes_in_the_magic_line_survive() -> None:
    opened = open_cell(lines("""%%tensorlake p --wire "a -> b" --run s='it'"'"'s'\n"""))

    call = ast.parse("".join(opened)).body[0]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    assert ast.literal_eval(call.value.args[1]) == """cell p --wire "a -> b" --run s='it'"'"'s'"""


def test_the_last_expression_passes_through_the_closing_call() -> None:
    module = rewritten(CELL)

    last = module.body[-1]
    assert len(module.body) == 3
    assert isinstance(last, ast.Expr)
    assert ast.unparse(last).endswith("close(x + 1)")


def test_after_a_statement_the_closing_call_stands_alone() -> None:
    module = rewritten("%%tensorlake\nx = 1\n")

    assert len(module.body) == 3
    assert ast.unparse(module.body[-1]).endswith("close()")


def test_a_cell_without_statements_is_closed_too() -> None:
    assert ast.unparse(rewritten("%%tensorlake pipeline\n").body[-1]).endswith("close()")


def test_the_users_lines_keep_their_numbers_and_the_closing_call_has_that_of_the_magic() -> None:
    module = rewritten("%%tensorlake p\n\nx = 1\nawait x\n")

    last = module.body[-1]
    assert isinstance(last, ast.Expr)
    assert isinstance(last.value, ast.Call)
    assert module.body[1].lineno == 3
    assert last.value.args[0].lineno == 4
    assert {node.lineno for node in ast.walk(last.value.func) if hasattr(node, "lineno")} == {1}
    assert last.value.lineno == 1


def test_cells_that_no_magic_opened_are_returned_as_they_are() -> None:
    source = "get_ipython().run_line_magic('tensorlake', 'runs')\nx\n"

    assert ast.dump(ClosingCall().visit_Module(ast.parse(source))) == ast.dump(ast.parse(source))
