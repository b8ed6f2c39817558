"""What the statements of a module do beside binding names, as far as their text tells.

A function that imports a module while it runs needs the statements that bind what it takes. But some change what other
names give: a call that registers, a class that its base makes a note of, a name that is looked up by its text. Those
count whatever is taken. In doubt a statement counts: to compute again costs less than to be wrong.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterable, Sequence

from tensorlake_nb.core.code.reflection_names import IMPORTERS

_WORD = re.compile(r"[A-Za-z_]\w*")
#: Bases that do nothing with the classes below them but what these say themselves; and Python's own exceptions.
_QUIET_BASES = frozenset(
    """
    object ABC BaseModel Enum Flag Generic IntEnum IntFlag NamedTuple Protocol StrEnum TypedDict
    bool bytes complex dict float frozenset int list set str tuple
    """.split()  # noqa: SIM905 - a table of words reads better than twenty lines
) | {name for name, held in vars(builtins).items() if isinstance(held, type) and issubclass(held, BaseException)}
#: What calls or changes what it is given.
_CALLERS = frozenset(("map", "filter", "sorted", "min", "max", "reduce", "setattr", "delattr"))
#: What finds names of the module that no name in its text tells.
_FINDERS = frozenset(("globals", "eval", "exec", "__subclasses__", "modules"))


class SideEffects:
    """Judges the statements of one module.

    Parameters
    ----------
    is_project
        Whether an import, by module and level, is of the project's own code.
    """

    def __init__(self, statements: Sequence[ast.stmt], is_project: Callable[[str, int], bool]) -> None:
        self._classes = {item.name: item for item in statements if isinstance(item, ast.ClassDef)}
        foreign, self._own = _origins(statements, is_project)
        # What has no name is a literal, or a call that is judged by itself.
        self._foreign = (foreign - self._own - _CALLERS) | {""}
        self._quiet: dict[ast.ClassDef, bool] = {}

    def has_effect(self, statement: ast.stmt) -> bool:
        """Whether a statement may do more than bind a name."""
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            return bool(statement.decorator_list) or self._calls(statement.args)
        if isinstance(statement, ast.ClassDef):
            return bool(statement.decorator_list) or not self._is_quiet(statement)
        if isinstance(statement, (ast.Import, ast.ImportFrom, ast.Pass, getattr(ast, "TypeAlias", ast.Pass))):
            return False
        if isinstance(statement, ast.Assign):
            return not all(isinstance(target, ast.Name) for target in statement.targets) or self._calls(statement)
        if isinstance(statement, ast.AnnAssign):
            return not isinstance(statement.target, ast.Name) or self._calls(statement)
        return True

    def _is_quiet(self, made: ast.ClassDef) -> bool:
        """Whether nobody but the class itself hears that it is made."""
        if made not in self._quiet:
            self._quiet[made] = False  # on the way back to itself
            self._quiet[made] = not made.keywords and self._has_quiet_bases(made) and self._has_quiet_body(made)
        return self._quiet[made]

    def _has_quiet_bases(self, made: ast.ClassDef) -> bool:
        for base in made.bases:
            whole = base.value if isinstance(base, ast.Subscript) else base
            last = whole.attr if isinstance(whole, ast.Attribute) else _root(whole)
            known = self._classes.get(_root(base))
            if known is None and (last not in _QUIET_BASES or _root(base) in self._own):
                return False
            if known is not None and ("__init_subclass__" in _bound_in(known) or not self._is_quiet(known)):
                return False
        return True

    def _has_quiet_body(self, made: ast.ClassDef) -> bool:
        bound = _bound_in(made)
        for item in made.body:
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                heard_by = {_root(each.func if isinstance(each, ast.Call) else each) for each in item.decorator_list}
                if not heard_by <= self._foreign | bound or self._calls(item.args):
                    return False
            elif isinstance(item, ast.Expr):  # a text that stands by itself
                if self._calls(item):
                    return False
            elif isinstance(item, ast.Import | ast.ImportFrom) or self.has_effect(item):
                return False
        return True

    def _calls(self, part: ast.AST) -> bool:
        """Whether something of the project's own is called while a part of a statement runs."""
        pending: list[ast.AST] = [part]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.Lambda):
                continue
            if isinstance(node, ast.Call) and _root(node.func) not in self._foreign:
                return True
            pending += ast.iter_child_nodes(node)
        return False


def _bound_in(made: ast.ClassDef) -> frozenset[str]:
    """The names that the body of a class binds at its top."""
    names = {item.name for item in made.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    targets = [each for item in made.body if isinstance(item, ast.Assign) for each in item.targets]
    return frozenset(names | {each.id for each in targets if isinstance(each, ast.Name)})


def _origins(
    statements: Iterable[ast.stmt], is_project: Callable[[str, int], bool]
) -> tuple[frozenset[str], frozenset[str]]:
    """Names that aren't the project's own, Python's builtins and what comes of packages, and names that are."""
    found = {name for name in vars(builtins) if name not in _FINDERS | IMPORTERS}
    own = set[str]()
    for statement in statements:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                names = own if is_project(alias.name, 0) else found
                names.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(statement, ast.ImportFrom):
            names = own if is_project(statement.module or "", statement.level) else found
            names |= {alias.asname or alias.name for alias in statement.names}
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(statement.name)
    return frozenset(found), frozenset(own)


def _root(node: ast.expr) -> str:
    """``a`` of ``a.b.c`` and ``a[0].b``; nothing where no name begins it, as with a literal or another call."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def names_in(statement: ast.stmt) -> set[str]:
    """The names that a statement reads, those in the texts of annotations too."""
    found = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    for node in ast.walk(statement):
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(annotation, ast.expr):
                found |= {word for text in texts_in([annotation]) for word in _WORD.findall(text)}
    return found


def finds_by_text(statement: ast.stmt) -> bool:
    """Whether a statement may take names of its module that it doesn't name."""
    return not _FINDERS.isdisjoint(_named(statement))


def imports_by_text(statement: ast.stmt) -> bool:
    """Whether a statement may import a module by a text."""
    return not IMPORTERS.isdisjoint(_named(statement))


def _named(statement: ast.stmt) -> set[str]:
    nodes = list(ast.walk(statement))
    return {n.id for n in nodes if isinstance(n, ast.Name)} | {n.attr for n in nodes if isinstance(n, ast.Attribute)}


def texts_in(nodes: Iterable[ast.AST]) -> tuple[str, ...]:
    """All texts that stand in some code, in order."""
    found = (inner.value for node in nodes for inner in ast.walk(node) if isinstance(inner, ast.Constant))
    return tuple(dict.fromkeys(text for text in found if isinstance(text, str)))
