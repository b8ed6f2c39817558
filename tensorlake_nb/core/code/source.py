"""Function → canonical source: what ``ast.unparse`` makes of it, without comments, docstrings and decorators.

Source text is believed only where compiling it gives the very code that is loaded: a file may have been edited since
it was imported, and a line may hold two lambdas. Cells are found under the names that IPython compiles them with.
"""

from __future__ import annotations
import __future__

import ast
import functools
import linecache
import sys
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.core.values.encoding import field

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_FUTURE = functools.reduce(
    lambda a, b: a | b, (getattr(__future__, n).compiler_flag for n in __future__.all_feature_names)
)
#: Flag of code whose first constant is its docstring; before it existed, the first constant was the docstring or None.
_HAS_DOCSTRING = 0x4000000 if sys.version_info >= (3, 14) else None
_CO_OPTIMIZED = 0x1
#: Raised for a text that isn't Python: half a letter, a null byte, or nested deeper than the parser goes.
UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_KEPT_CODES = 4096
_KEPT_CELLS = 2000

_cells: OrderedDict[str, list[str]] = OrderedDict()
_found: OrderedDict[int, tuple[CodeType, str]] = OrderedDict()
_code_digests: OrderedDict[int, tuple[CodeType, bytes]] = OrderedDict()


def remember_cell(source: str, filename: str) -> None:
    """Keep the source of a cell under the name that it is compiled with; the newest are kept."""
    held = _cells.setdefault(filename, [])
    if source in held:
        held.remove(source)
    held.append(source)
    _cells.move_to_end(filename)
    while len(_cells) > _KEPT_CELLS:
        _cells.popitem(last=False)


def code_digest(code: CodeType) -> bytes:
    """Digest code by what it does: no lines, no file, no names of its own, no docstring.

    Bytecode differs between versions of Python, so this joins a key only where there is no source.
    """
    held = _code_digests.get(id(code))
    if held is not None:
        return held[1]
    fields = [
        repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & ~_FUTURE)).encode(),
        code.co_code,
        code.co_exceptiontable,
        repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode(),
        *(b"code" + code_digest(item) if isinstance(item, CodeType) else digest(item) for item in constants(code)),
    ]
    result = digest(b"code/1" + b"".join(map(field, fields)))
    _keep(_code_digests, code, result)
    return result


def constants(code: CodeType) -> list[Any]:
    """Return the constants of code, with None for its docstring."""
    consts = list(code.co_consts)
    if _HAS_DOCSTRING is not None:
        has_docstring = bool(code.co_flags & _HAS_DOCSTRING)
    else:
        has_docstring = bool(code.co_flags & _CO_OPTIMIZED and consts and not code.co_name.startswith("<"))
    if has_docstring and isinstance(consts[0], str):
        consts[0] = None
    return consts


def _keep(held: OrderedDict[int, tuple[CodeType, Any]], code: CodeType, result: Any) -> None:
    held[id(code)] = (code, result)
    while len(held) > _KEPT_CODES:
        held.popitem(last=False)


@dataclass(frozen=True, slots=True)
class SourceIndex:
    """The functions and classes of one source text."""

    functions: dict[str, list[tuple[FunctionNode, CodeType]]]
    classes: dict[str, list[ast.ClassDef]]

    def find(self, code: CodeType) -> FunctionNode | None:
        """Return the definition that compiles to this code, preferring the one on the code's own line."""
        wanted = code_digest(code)
        same = [pair for pair in self.functions.get(code.co_name, ()) if pair[1].co_qualname == code.co_qualname]
        for node, compiled in sorted(same, key=lambda pair: pair[1].co_firstlineno != code.co_firstlineno):
            if code_digest(compiled) == wanted:
                return node
        return None


@functools.lru_cache(maxsize=256)
def index_source(text: str, flags: int = 0) -> SourceIndex | None:
    """Parse and compile a text; None where it isn't Python.

    Parameters
    ----------
    flags
        The ``from __future__`` features in force, as in ``co_flags``.
    """
    try:
        tree = ast.parse(text)
        # A module is compiled whole, a cell statement by statement, and the code differs: of what the same text
        # imports, ``time.sleep()`` loads an attribute, of anything else a method.
        ways = [_by_line(_compiled(tree.body, flags)), _by_line(*(_compiled([each], flags) for each in tree.body))]
    except UNPARSABLE:
        return None
    functions: dict[str, list[tuple[FunctionNode, CodeType]]] = {}
    classes: dict[str, list[ast.ClassDef]] = {}
    for node, qualname in _definitions(tree, ""):
        if isinstance(node, ast.ClassDef):
            classes.setdefault(qualname, []).append(node)
            continue
        name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
        decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
        line = min([node.lineno, *(item.lineno for item in decorators)])
        for codes in ways:
            found = codes.get((name, line), [])
            for code in found:
                if not isinstance(node, ast.Lambda) or len(found) == 1 or _is_body(node.body, code):
                    functions.setdefault(name, []).append((node, code))
    _simplify(tree)
    return SourceIndex(functions, classes)


def _compiled(statements: list[ast.stmt], flags: int) -> CodeType:
    module = ast.Module(statements, type_ignores=[])
    features = (flags & _FUTURE) | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(module, "<source>", "exec", flags=features, dont_inherit=True)
    return code


def _by_line(*compiled: CodeType) -> dict[tuple[str, int], list[CodeType]]:
    """All code inside, by its name and first line."""
    codes: dict[tuple[str, int], list[CodeType]] = {}
    for whole in compiled:
        for code in nested_codes(whole):
            codes.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    return codes


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """Code and all code inside it."""
    yield code
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield from nested_codes(item)


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[FunctionNode | ast.ClassDef, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield child, prefix + child.name
            yield from _definitions(child, f"{prefix}{child.name}.")
        elif isinstance(child, FunctionNode):
            name = "<lambda>" if isinstance(child, ast.Lambda) else child.name
            yield child, prefix + name
            yield from _definitions(child, f"{prefix}{name}.<locals>.")
        else:
            yield from _definitions(child, prefix)


def _is_body(body: ast.expr, code: CodeType) -> bool:
    """Return True if a lambda's code was compiled from this expression, by the columns of its instructions."""
    first, last = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    ends = list[tuple[int, int]]()
    for line, end_line, column, end_column in code.co_positions():
        if line is None or end_line is None or column is None or end_column is None:
            continue
        if (line, column) == (end_line, end_column):  # set-up, which stands nowhere
            continue
        if (line, column) < first:
            return False
        ends.append((end_line, end_column))
    return bool(ends) and max(ends) == last


class _Simplify(ast.NodeTransformer):
    """Drops what has no effect: docstrings, other constants that stand as statements, the ``u`` of strings."""

    def visit(self, node: ast.AST) -> Any:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [item for item in body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
        if isinstance(node, ast.Constant):
            node.kind = None
        return node


def _simplify(tree: ast.Module) -> None:
    _Simplify().visit(tree)


def simplified(text: str) -> ast.Module:
    """Parse a text and drop docstrings and other statements without effect; raises ``SyntaxError``."""
    tree = ast.parse(text)
    _simplify(tree)
    return tree


def canonical(node: FunctionNode) -> str:
    """Write a definition without decorators and return annotation: those are seen on the function itself."""
    if isinstance(node, ast.Lambda):
        return ast.unparse(node)
    decorators, returns, comment = node.decorator_list, node.returns, node.type_comment
    node.decorator_list, node.returns, node.type_comment = [], None, None
    try:
        return ast.unparse(node)
    finally:
        node.decorator_list, node.returns, node.type_comment = decorators, returns, comment


def texts_of(filename: str, namespace: dict[str, Any] | None = None) -> Iterator[str]:
    """Every text that is known under a file's or a cell's name, the likeliest first."""
    yield from reversed(_cells.get(filename, []))
    if filename == "<timed exec>":  # what %%time makes of the cell below it
        yield from _below_magics()
    first = "".join(linecache.getlines(filename, namespace))
    if first:
        yield first
    linecache.checkcache(filename)
    second = "".join(linecache.getlines(filename, namespace))
    if second and second != first:
        yield second


def cell_texts() -> Iterator[str]:
    """Yield the texts of all known cells."""
    for held in list(_cells.values()):
        yield from held
    for name in [name for name in list(linecache.cache) if _is_cell(name) and name not in _cells]:
        yield "".join(linecache.getlines(name))


def _below_magics() -> Iterator[str]:
    """Yield the cells given to cell magics, newest first: IPython writes them as a call with their text."""
    for name in reversed([name for name in linecache.cache if _is_cell(name)]):
        text = "".join(linecache.getlines(name))
        if "run_cell_magic" not in text:
            continue
        yield from filter(None, map(magic_body, ast.walk(ast.parse(text))))


def magic_body(node: ast.AST) -> str | None:
    """Return the text that a call gives to a cell magic, as IPython writes it; None for anything else."""
    match node:
        case ast.Call(func=ast.Attribute(attr="run_cell_magic"), args=[*_, ast.Constant(value=str(body))]):
            return body
    return None


def _is_cell(filename: str) -> bool:
    return "ipykernel" in filename or filename.startswith("<ipython-input")


def function_source(code: CodeType, namespace: dict[str, Any] | None = None) -> str | None:
    """Return the canonical source of the function with this code; None if no text compiles to it."""
    held = _found.get(id(code))
    if held is not None:
        return held[1]
    for text in texts_of(code.co_filename, namespace):
        index = index_source(text, code.co_flags & _FUTURE)
        node = index.find(code) if index is not None else None
        if node is not None:
            result = canonical(node)
            _keep(_found, code, result)
            return result
    return None


def has_text(code: CodeType) -> bool:
    """Return True if any text, right or wrong, is known under the file name of the code."""
    return next(texts_of(code.co_filename), None) is not None


def class_source(cls: type, methods: list[CodeType]) -> str | None:
    """Return a class's text without its methods, for people to read. It decides nothing.

    A class without methods leaves no trace of where it was defined, so the newest cell that defines it is taken.
    """
    if methods:
        filenames = list(dict.fromkeys(code.co_filename for code in methods))
    else:
        module = sys.modules.get(cls.__module__)
        own = getattr(module, "__file__", None)
        cells = [name for name in linecache.cache if _is_cell(name)]
        filenames = (
            [own] if isinstance(own, str) and cls.__module__ != "__main__" else [*_cells, *cells, own or ""][::-1]
        )
    for filename in filenames:
        for text in texts_of(filename) if filename else ():
            index = index_source(text)
            nodes = index.classes.get(cls.__qualname__, []) if index is not None else []
            if nodes:
                return _without_methods(nodes[-1])
    return None


def _without_methods(node: ast.ClassDef) -> str:
    body = node.body
    kept = [item for item in body if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    node.body = kept or [ast.Pass()]
    try:
        return ast.unparse(node)
    finally:
        node.body = body
