"""``tensorlake-nb run``: real kernels, parameters, exit codes, and what is left behind when a cell fails."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import tensorlake_nb
from tensorlake_nb.errors import OptionError
from tensorlake_nb.notebook.cli import main
from tensorlake_nb.notebook.terminal.headless import inject, run_notebook


def notebook(path: Path, *cells: str, parameters: str | None = None) -> Path:
    sources = [nbformat.v4.new_code_cell(source) for source in cells]
    if parameters is not None:
        sources.insert(0, nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    nbformat.write(nbformat.v4.new_notebook(cells=sources), path)
    return path


def test_cells_run_in_the_notebooks_folder_with_parameters_and_their_output_is_shown(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "a.ipynb",
        "import os; print(n + 1, who, os.getcwd())",
        "n * 100",
        parameters="n = 1\nwho = 'nobody'",
    )
    out, err = io.StringIO(), io.StringIO()

    code = run_notebook(path, parameters={"n": 3}, output=tmp_path / "made" / "out.ipynb", out=out, err=err)

    assert (code, err.getvalue()) == (0, "")
    assert out.getvalue().splitlines() == [f"4 nobody {tmp_path}", "300"]
    saved = nbformat.read(tmp_path / "made" / "out.ipynb", as_version=4)
    assert saved.cells[1].source == "# Parameters\nn = 3"
    assert saved.cells[3].outputs[0].data["text/plain"] == "300"
    assert "outputs" not in path.read_text() or '"300"' not in path.read_text(), "the notebook itself is left alone"


def test_a_failing_cell_gives_its_error_a_code_and_a_saved_notebook(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb", "print('before')", "1 / 0", "print('never')")
    out, err = io.StringIO(), io.StringIO()

    code = run_notebook(path, output=tmp_path / "out.ipynb", out=out, err=err)

    assert code == 1
    assert out.getvalue() == "before\n"
    assert err.getvalue().splitlines()[-1] == ("tensorlake-nb: code cell 2 failed: ZeroDivisionError: division by zero")
    assert "----> 1 1 / 0" in err.getvalue()
    assert "\x1b" not in err.getvalue()
    saved = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert saved.cells[1].outputs[0].ename == "ZeroDivisionError"


def test_a_cell_may_take_so_long(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb", "import threading; threading.Event().wait()")
    err = io.StringIO()

    code = run_notebook(path, timeout_s=1, out=io.StringIO(), err=err)

    assert code == 1
    assert err.getvalue().splitlines()[-1] == "tensorlake-nb: code cell 1 failed: the cell took longer than 1 s"


def test_a_kernel_that_dies_is_said_so(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb", "import os; os._exit(3)")
    err = io.StringIO()

    code = run_notebook(path, out=io.StringIO(), err=err)

    assert code == 1
    assert "code cell 1 failed: the kernel died" in err.getvalue()


def test_ctrl_c_interrupts_the_cell_and_leaves_no_kernel_behind(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "a.ipynb", "import os, threading; print('kernel', os.getpid(), flush=True)\nthreading.Event().wait()"
    )
    command = [
        sys.executable,
        "-m",
        "tensorlake_nb.notebook.cli",
        "run",
        str(path),
        "--output",
        str(tmp_path / "o.ipynb"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        kernel = int(process.stdout.readline().split()[1])

        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert err.splitlines()[-1] == "tensorlake-nb: interrupted; finished work is kept"
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)
    assert nbformat.read(tmp_path / "o.ipynb", as_version=4).cells[0].outputs[-1].ename == "KeyboardInterrupt"


DOUBLES = """
from tensorlake_nb import *
configure(store="store", cluster="threads")

@tensorlake_function
def numbers(n: int) -> list[int]:
    return list(range(n))

@tensorlake_function
def double(n: int) -> int:
    return 2 * n

graph = Graph("doubles", start_node=numbers).add_edge(numbers, double)
"""


def test_progress_of_runs_is_shown_and_the_store_can_be_asked_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook(tmp_path / "a.ipynb", DOUBLES, "graph", "run = graph.run(n=3)", "graph.run(n=4)", "print(run.id)")
    tensorlake_nb.configure(store="unused", cluster="threads")

    assert main(["run", "a.ipynb"]) == 0
    ran = capsys.readouterr()
    assert main(["runs", "--store", "store"]) == 0
    listed = capsys.readouterr().out
    assert main(["show", ran.out.split()[-1], "--store", "store"]) == 0
    shown = capsys.readouterr().out

    told = [line for line in ran.err.splitlines() if "waiting" not in line]  # which a slow machine has to say
    assert told == [
        "doubles: numbers ✓ 1 computed",
        "doubles: double ✓ 3 computed",
        "doubles: succeeded",
        "doubles: numbers ✓ 1 computed",
        "doubles: double ✓ 3 replayed, 1 computed",
        "doubles: succeeded",
    ]
    assert ran.out.splitlines()[:2] == [
        "Graph 'doubles': numbers → double (2 functions)",
        "Run of 'doubles': succeeded",
    ]
    assert len(listed.splitlines()) == 3
    assert "✓ succeeded" in listed
    assert "✓ 3 computed" in shown


def test_an_empty_store_has_no_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["runs", "--store", "new"]) == 0
    assert main(["show", "--store", "new"]) == 1
    assert main(["show", "123456", "--store", "new"]) == 1
    assert main(["gc", "--older-than", "7", "--store", "new"]) == 2
    assert main(["gc", "--keep-runs", "1", "--store", "new"]) == 0

    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "no runs yet"
    assert said.out.splitlines()[-1].split() == ["in", "all", "0", "0", "B", "0", "0", "B"]
    assert said.err.splitlines()[0] == "tensorlake-nb: the store holds no run yet"
    assert "'123456'" in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere.ipynb"], "there is no notebook nowhere.ipynb"),
        (["run", "."], ". is a folder, not a notebook"),
        (["run", "junk.ipynb"], "junk.ipynb isn't a notebook"),
        (["run", "bytes.ipynb"], "bytes.ipynb isn't a notebook"),
        (["run", "empty.ipynb"], "empty.ipynb isn't a notebook"),
        (["run", "a.ipynb", "--kernel", "cobol"], "no kernel is called 'cobol' (installed: "),
        (["run", "a.ipynb", "-p", "m=3"], "the notebook has no parameter 'm' (parameters: n)"),
        (["run", "a.ipynb", "-p", "n"], "-p 'n' isn't a parameter; write name=value"),
        (
            ["run", "b.ipynb", "-p", "n=3"],
            "a cell of the notebook assigns 'n' itself: give that cell the tag",
        ),
        (["run", "a.ipynb", "-p", "class=1"], "'class' can't be a parameter"),
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook(tmp_path / "a.ipynb", "n", parameters="n = 1")
    notebook(tmp_path / "b.ipynb", "%time\nn = 1\ndef f(): m = 2")
    (tmp_path / "junk.ipynb").write_text("not json")
    (tmp_path / "bytes.ipynb").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.ipynb").write_text("{}")

    code = main(arguments)

    err = capsys.readouterr().err
    assert code == 2
    assert err.startswith(f"tensorlake-nb: {said}")
    assert len(err.splitlines()) == 1


def test_argument_errors_are_those_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "a.ipynb", "--timeout", "-3"])

    assert caught.value.code == 2
    assert "must be more than 0, not -3" in capsys.readouterr().err


def test_parameters_go_behind_the_tagged_cell_and_replace_those_injected_before() -> None:
    node = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Title"),
            nbformat.v4.new_code_cell("n = 1", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell("n = 2", metadata={"tags": ["injected-parameters"]}),
            nbformat.v4.new_code_cell("n"),
        ]
    )

    inject(node, {"n": "it's"})

    assert [cell.source for cell in node.cells] == ["# Title", "n = 1", '# Parameters\nn = "it\'s"', "n"]


def test_without_a_tagged_cell_parameters_come_first() -> None:
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("def f(): n = 1\nn, [n for n in ()]")])

    inject(node, {"n": [1, 2]})

    assert [cell.source for cell in node.cells] == ["# Parameters\nn = [1, 2]", "def f(): n = 1\nn, [n for n in ()]"]


def test_a_name_that_is_no_name_is_refused() -> None:
    with pytest.raises(OptionError, match="'a b' can't be a parameter"):
        inject(nbformat.v4.new_notebook(), {"a b": 1})
