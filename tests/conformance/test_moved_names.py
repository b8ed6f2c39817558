"""Values and functions that name a class where it stood earlier are read as what it is now."""

from __future__ import annotations

import sys
import types
from typing import Any

import pydantic
import pytest

from tensorlake_nb import File
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.travel import unpickler
from tensorlake_nb.store.codecs.classes import ModuleResolver
from tensorlake_nb.store.codecs.codec import decode, encode
from tensorlake_nb.store.codecs.pickles import unpickled

#: All that 0.1.0 has pickles call or name.
NAMED = [
    "tensorlake_nb.core.file:File",
    "tensorlake_nb.core.function:Function",
    "tensorlake_nb.core.function:TensorlakeCompute",
    "tensorlake_nb.core.function:RouteTo",
    "tensorlake_nb.core.jinja:template_again",
    "tensorlake_nb.core.jinja:bare_environment",
    "tensorlake_nb.core.jinja:fill_environment",
    "tensorlake_nb.core.options:FunctionOptions",
    "tensorlake_nb.core.policy:Retries",
    "tensorlake_nb.core.policy:Placement",
    "tensorlake_nb.core.policy:Gpu",
    "tensorlake_nb.engine.context:RequestContext",
    "tensorlake_nb.engine.patching:original",
    "tensorlake_nb.engine.travel:_same",
    "tensorlake_nb.engine.travel:_class_of_import",
    "tensorlake_nb.engine.travel:_shell",
    "tensorlake_nb.engine.travel:_fill_shell",
    "tensorlake_nb.engine.travel:_shell_vars",
    "tensorlake_nb.engine.travel:_import_value",
    "tensorlake_nb.engine.travel:_make_class",
    "tensorlake_nb.engine.travel:_fill_class",
    "tensorlake_nb.engine.travel_functools:_cached",
    "tensorlake_nb.engine.travel_functools:_keep",
    "tensorlake_nb.engine.travel_functools:_fill_property",
    "tensorlake_nb.engine.travel_functools:_dispatching",
    "tensorlake_nb.engine.travel_functools:_register",
    "tensorlake_nb.engine.travel_functools:_validating",
    "tensorlake_nb.store.remade:exception",
    "tensorlake_nb.store.remade:set_attributes",
    "tensorlake_nb.store.remade:view",
    "tensorlake_nb.store.remade:set_masked",
    "tensorlake_nb.store.remade:bare",
    "tensorlake_nb.store.remade:torch_bytes",
    "tensorlake_nb.store.remade:torch_storage",
]


@pytest.mark.parametrize("trusted", [True, False])
def test_a_record_is_read_as_its_class_of_now(monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    then: Any = types.ModuleType("tensorlake_nb.core.file")
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in File.model_fields.items()}
    then.File = pydantic.create_model("File", __module__=then.__name__, **fields)
    with monkeypatch.context() as earlier:
        earlier.setitem(sys.modules, then.__name__, then)
        encoded = encode([then.File(data=b"a")], digest=digest(0))
    assert then.__name__.encode() in bytes(encoded.data)

    assert decode(encoded.codec, encoded.data, trusted=trusted) == [File(data=b"a")]


@pytest.mark.parametrize("name", NAMED)
def test_every_name_that_stores_hold_leads_somewhere(name: str) -> None:
    module, _, attribute = name.partition(":")
    pickled = f"c{module}\n{attribute}\n.".encode()

    assert callable(unpickler.loads(pickled))
    assert unpickler.loads(pickled) is unpickled(pickled, ModuleResolver())
