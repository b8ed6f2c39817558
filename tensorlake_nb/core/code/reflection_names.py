"""Names by which code tells that it reads more than it names."""

from __future__ import annotations

#: Attributes of every module: its place and loading are no part of what it does.
MODULE_NAMES = frozenset(
    ("__name__", "__file__", "__builtins__", "__spec__", "__package__", "__loader__", "__path__", "__cached__")
)
#: Builtins through which code reads what no name in it tells.
DYNAMIC = frozenset(("eval", "exec", "globals", "__import__"))
#: Functions that import a module by a text.
IMPORTERS = frozenset(("import_module", "__import__"))
#: Methods that look for names of the caller in a text: ``df.query("a > @LIMIT")``, ``duckdb.sql("from df")``.
TEXT_READERS = frozenset(("query", "eval", "sql", "execute"))
#: Readers of docstrings, annotations, names of functions and the order of a class: else these decide nothing.
READERS = {
    "docstrings": frozenset(("__doc__", "getdoc", "model_json_schema", "json_schema", "openapi")),
    "annotations": frozenset(
        """
        __annotations__ get_type_hints get_annotations signature from_callable getfullargspec validate_call
        __annotate__ call_annotate_function __type_params__
        """.split()  # noqa: SIM905 - a table of words reads better
    ),
    "names": frozenset(("__name__", "__qualname__")),
    "order": frozenset(("vars", "__dict__")),
}
#: Attributes that ``functools.lru_cache`` and ``functools.singledispatch`` put into their functions.
CACHE_NAMES = frozenset(("__wrapped__", "cache_parameters"))
DISPATCH_NAMES = frozenset(("register", "dispatch", "registry", "_clear_cache", "__wrapped__"))
#: Functions that make a class without a ``class`` statement.
CLASS_MAKERS = frozenset(("make_dataclass", "namedtuple", "create_model", "new_class"))
