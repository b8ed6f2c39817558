"""``%%tensorlake`` cells: run as ordinary cells, with one call before the first statement and one after the last.

A cell magic in the usual sense would get its cell as text and have to run it again inside a running event loop: no
``await``, other line numbers, other tracebacks. So the magic line is replaced, before parsing, by one line of code
that opens the cell, and the parsed cell gets a call at its end that closes it. Line numbers stay, tracebacks and
``inspect.getsource`` see the cell's own text, and a failure of either call fails the cell at the line of the magic.
"""

from __future__ import annotations

import ast
import re

_MAGIC_LINE = re.compile(r"%%tensorlake(?![\w?])(?P<rest>.*)", re.DOTALL)
_ASKS_FOR_HELP = re.compile(r"(^|\s)(-h|--help)(\s|$)")
OPENING = "cell"


def open_cell(lines: list[str]) -> list[str]:
    """Replace a magic line by the call that opens the cell; other cells are returned as they are.

    This is one of IPython's cell clean-up steps, so it also sees unfinished cells while they are typed.
    """
    found = _MAGIC_LINE.match(lines[0]) if lines else None
    if found is None:
        return lines
    rest = found["rest"].strip()
    call = f"get_ipython().run_line_magic('tensorlake', {f'{OPENING} {rest}'.strip()!r})\n"
    return [call] if _ASKS_FOR_HELP.search(rest) else [call, *lines[1:]]


class ClosingCall(ast.NodeTransformer):
    """Adds the closing call to the syntax tree of an opened cell.

    Where the cell ends in an expression, its value passes through the call, so that it is still the cell's result.
    """

    def visit_Module(self, module: ast.Module) -> ast.Module:
        """Wrap or append; modules that no magic opened stay as they are."""
        if not module.body or not _opens(module.body[0]):
            return module
        opening = module.body[0]
        last = module.body[-1]
        call = ast.copy_location(
            ast.Call(func=_close_function(), args=[], keywords=[]),
            opening,  # so that a failure points at the magic line
        )
        if len(module.body) > 1 and isinstance(last, ast.Expr):
            call.args = [last.value]
            module.body[-1] = ast.copy_location(ast.Expr(call), last)
        else:
            module.body.append(ast.copy_location(ast.Expr(call), opening))
        for node in (call.func, *ast.walk(call.func)):
            ast.copy_location(node, opening)
        return ast.fix_missing_locations(module)


def _close_function() -> ast.expr:
    """Return an expression for ``close`` of `magic` that needs no name in the namespace."""
    return ast.parse("__import__('tensorlake_nb.notebook.magics.magic', fromlist=['close']).close", mode="eval").body


def _opens(statement: ast.stmt) -> bool:
    """Return True if a statement is the call that `open_cell` wrote."""
    match statement:
        case ast.Expr(
            value=ast.Call(
                func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr="run_line_magic"),
                args=[ast.Constant(value="tensorlake"), ast.Constant(value=str(line))],
            )
        ):
            return line.split(None, 1)[:1] == [OPENING]
        case _:
            return False
