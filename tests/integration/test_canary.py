"""A secret that a run uses, prints and fails with is nowhere afterwards: neither in the store nor in what is shown."""

from __future__ import annotations

import json
import os
import pickle
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import cloudpickle
import nbformat
import pytest
import zstandard
from distributed import Client
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from tensorlake_nb import Graph, OptionError, Run, TaskFailedError, configure, tensorlake_function
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.notebook.drawing import faces
from tensorlake_nb.notebook.panel.panel_state import state_of_run
from tensorlake_nb.notebook.terminal import reports
from tensorlake_nb.store.format.trust import KEY_VARIABLE

NAME = "TENSORLAKE_NB_TEST_CANARY"
#: Put together here, since the text of this file is stored with its functions.
CANARY = "canary/" + "5f1e9d'\"\\" + "+quoted"
KEY = "signing-canary-" * 3
ZSTD = b"\x28\xb5\x2f\xfd"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(NAME, CANARY)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    session.current().close()
    configure(cluster="embedded", workers=2)
    yield
    session.current().close()
    configure(cluster="threads", workers=2)


def leaking_graph() -> Graph:
    @tensorlake_function
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function(secrets=[NAME])
    def leaks(number: int) -> int:
        key = os.environ[NAME]
        print("my key is", key, repr(key), json.dumps({"key": key}))
        print("Authorization:", b64encode(key.encode()).decode(), os.environ.get(KEY_VARIABLE))
        if number == 3:
            local = {"headers": [key]}
            raise ValueError(f"refused {local} as {key}")
        return len(key)

    return Graph("canary", start_node=numbers).add_edge(numbers, leaks)


def traces(data: bytes) -> list[bytes]:
    """The forms of the secrets that stand in some bytes."""
    forms = [CANARY.encode(), repr(CANARY)[1:-1].encode(), json.dumps(CANARY)[1:-1].encode(), KEY.encode()]
    forms += [b64encode(CANARY.encode()), json.dumps(json.dumps(CANARY)[1:-1])[1:-1].encode()]
    return [form for form in forms if form in data]


def contents(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a directory, and what its zstd frames hold."""
    for path in root.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            yield str(path), raw
            at = raw.find(ZSTD)
            if at >= 0:
                yield f"{path} decompressed", zstandard.ZstdDecompressor().decompressobj().decompress(raw[at:])


def shown(run: Run, error: TaskFailedError) -> dict[str, str]:
    """Everything by which a person may see something of a run."""
    return {
        "error": f"{error} {error!r} {error.traceback_text} {error.input_repr} {error._render_traceback_()}",
        "failures": repr(run.failures),
        "logs": repr(run.logs("leaks")),
        "events": repr([*run.events()]),
        "why": str(run.why("leaks")),
        "html": faces.html_of(run) + faces.plain_of(run),
        "report": reports.run_text(run),
        "widget": json.dumps(state_of_run(run, graph_key="graph").wire()),
        "source": run.source_of("leaks"),
    }


@pytest.mark.usefixtures("secret")
def test_a_canary_is_nowhere_after_a_run_that_fails_with_it(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    submit = Client.map

    def recorded(self: Any, *args: Any, **options: Any) -> Any:
        sent.append(cloudpickle.dumps((args, options)))
        return submit(self, *args, **options)

    monkeypatch.setattr(Client, "map", recorded)

    with pytest.raises(TaskFailedError) as failed:
        leaking_graph().run(n=6)

    run = failed.value.run
    assert run is not None
    files = dict(contents(Path(store)))
    assert any(path.endswith("decompressed") for path in files)
    assert sent
    assert "my key is ***" in run.logs("leaks")[0].text
    everything = {**files, **{name: text.encode() for name, text in shown(run, failed.value).items()}}
    everything["sent"], everything["pickled"] = b"".join(sent), pickle.dumps(failed.value.args)
    assert {name: found for name, data in everything.items() if (found := traces(data))} == {}


CELLS = (
    """
    import json, logging, os
    from base64 import b64encode
    logging.basicConfig(filename="kernel.log", level=logging.DEBUG)
    %load_ext tensorlake_nb
    from tensorlake_nb import Graph, configure, tensorlake_function
    configure(store="store", workers=1)

    @tensorlake_function
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function(secrets=["TENSORLAKE_NB_TEST_CANARY"])
    def uses(number: int) -> int:
        key = os.environ["TENSORLAKE_NB_TEST_CANARY"]
        print("my key is", key, repr(key), json.dumps({"key": key}), b64encode(key.encode()).decode())
        logging.getLogger("mine").warning("used %s", key)
        if number == 3:
            raise ValueError(f"refused as {key} in {[key]}")
        return len(key)

    graph = Graph("canary", start_node=numbers).add_edge(numbers, uses)
    graph
    """,
    "run = graph.run(n=3)",
    "run = graph.run(n=6)",
    "run = graph.start(n=7)\nrun.wait_quietly(60)\nrun",
    "print(run.failures, *run.logs('uses'), *run.events(), run.why('uses'))\nrun.wait()",
    "%tensorlake show",
    "%tensorlake why canary uses",
)


@pytest.mark.usefixtures("secret")
def test_a_canary_is_nowhere_in_a_notebook_that_was_saved_after_runs_that_use_it_and_fail_with_it(
    tmp_path: Path,
) -> None:
    session.current().close()  # the kernel has a cluster of its own
    notebook: Any = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(dedent(text).strip()) for text in CELLS])
    NotebookClient(
        notebook,
        timeout=90,
        kernel_name="python3",
        allow_errors=True,
        store_widget_state=True,
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    saved = tmp_path / "saved.ipynb"
    nbformat.write(notebook, saved)
    export: Any = HTMLExporter
    html, _ = export().from_notebook_node(notebook)
    (tmp_path / "saved.html").write_text(html)

    errors = [output.ename for cell in notebook.cells for output in cell.outputs if output.output_type == "error"]
    assert errors == ["TaskFailedError", "TaskFailedError"], "the runs, and nothing else"
    assert saved.read_text().count("refused as ***") > 2, "what is searched holds what was said"
    assert notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert "distributed" in (tmp_path / "kernel.log").read_text()
    assert {path: found for path, data in contents(tmp_path) if (found := traces(data))} == {}


@pytest.mark.usefixtures("secret")
def test_a_secret_in_a_global_or_in_an_input_is_refused_before_anything_is_stored(store: str) -> None:
    held = os.environ[NAME]

    @tensorlake_function(secrets=[NAME])
    def uses(text: str) -> str:
        return held + text

    @tensorlake_function(secrets=[NAME])
    def is_given(text: str) -> str:
        return text

    for graph, given in ((Graph("global", start_node=uses), "x"), (Graph("input", start_node=is_given), held)):
        with pytest.raises(OptionError, match=f"the value of the secret {NAME} stands in") as refused:
            graph.run(text=given)
        assert traces(str(refused.value).encode()) == []
    assert [path for path, data in contents(Path(store)) if traces(data)] == []
