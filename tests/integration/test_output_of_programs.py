"""Output of programs and C libraries on the embedded cluster: in the log of its call, or told with the call's end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import asyncio, ctypes, json, os, subprocess, sys
from tensorlake_nb import *

os.environ["OUTPUT_TOKEN"] = "hunter2-hunter2"

@tensorlake_function()
def spread(items: list) -> list:
    return items

@tensorlake_function()
def talks(x: int) -> int:
    libc = ctypes.CDLL(None)
    print("begins", x)
    os.system(f"echo system {x}")
    print("goes on")
    libc.puts(b"library %d" % x)
    libc.fflush(None)
    subprocess.run(["sh", "-c", f"echo program {x}"], check=True)
    print("ends")
    libc.puts(b"not flushed %d" % x)
    os.write(2, b"error %d\\n" % x)
    return x

@tensorlake_function(secrets=["OUTPUT_TOKEN"])
def tells(x: int) -> int:
    os.system("echo my key is $OUTPUT_TOKEN; echo $OUTPUT_TOKEN >&2")
    return x

@tensorlake_function()
def floods(x: int) -> int:
    os.system("yes | head -c 30000000; echo the end >&2")
    return x

@tensorlake_function(max_concurrency=8)
async def together(x: int) -> int:
    await asyncio.sleep(0.1)
    os.system("echo whose")
    return x

@tensorlake_function(secrets=["OUTPUT_TOKEN"])
def dies(how: str) -> int:
    os.system("echo last words, and my key is $OUTPUT_TOKEN")
    if how == "exit":
        os._exit(3)
    ctypes.string_at(0)

def lines(run, function):
    return [[line.offset, line.stream, line.text] for line in run.logs(function)]

def mapped(function, n):
    run = Graph(function.name, spread).add_edge(spread, function).run(items=list(range(n)))
    return lines(run, function), [note for standing in run.standings().values() for note in standing.notes]

def death(how):
    try:
        Graph("dies", dies).run(how=how)
    except TaskFailedError as error:
        return str(error)

if __name__ == "__main__":
    configure(store="store", workers=1)
    said = {f.name: mapped(f, n) for f, n in ((talks, 3), (tells, 1), (floods, 1), (together, 8))}
    said["exit"], said["crash"] = death("exit"), death("crash")
    with open("said", "w") as file:
        json.dump(said, file)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, str]:
    """What the calls of the script wrote by their logs, and what came out of its own process."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "said").read_text()), done.stdout, done.stderr


def test_each_call_has_its_own_in_the_order_in_which_it_came(ran: tuple[dict[str, Any], str, str]) -> None:
    said, stdout, stderr = ran
    lines, notes = said["talks"]

    expected = "begins {0}\nsystem {0}\ngoes on\nlibrary {0}\nprogram {0}\nends\nnot flushed {0}\n"
    for stream, each in (("stdout", expected), ("stderr", "error {0}\n")):
        texts = [text for _, its, text in lines if its == stream]
        assert "".join(texts) == "".join(each.format(x) for x in range(3))
        assert all(len(set(text) & set("012")) <= 1 for text in texts)  # of one call each
    assert notes == []
    assert "system" not in stdout
    assert "error 0" not in stderr


def test_secrets_are_blotted_out(ran: tuple[dict[str, Any], str, str]) -> None:
    lines, _ = ran[0]["tells"]

    assert sorted(lines) == [[0, "stderr", "***\n"], [0, "stdout", "my key is ***\n"]]


def test_of_a_flood_the_beginning_is_kept_and_the_cut_is_told(ran: tuple[dict[str, Any], str, str]) -> None:
    ((_, stream, text),) = ran[0]["floods"][0]

    assert stream == "stdout"
    assert text.startswith("y\ny\n")
    assert text.endswith("[cut: more than 65536 characters]")
    assert len(text) < 65_600


def test_what_one_of_several_calls_at_once_writes_is_noted_and_goes_where_it_went_before(
    ran: tuple[dict[str, Any], str, str],
) -> None:
    said, stdout, _ = ran
    lines, notes = said["together"]

    assert "whose" in stdout
    assert stdout.count("whose") + sum(text.count("whose") for _, _, text in lines) == 8
    assert any("max_concurrency=1" in note for note in notes)


def test_what_a_call_wrote_before_it_ended_its_process_stands_in_its_failure(
    ran: tuple[dict[str, Any], str, str],
) -> None:
    said, stdout, stderr = ran

    for how, cause in (("exit", "exit code 3"), ("crash", "SIGSEGV")):
        assert f"its worker process ended ({cause})" in said[how]
        assert "last words, and my key is ***" in said[how]
        assert "hunter2" not in said[how]
    assert "Fatal Python error: Segmentation fault" in said["crash"]
    assert "Fatal Python error: Segmentation fault" in stderr
    assert stdout.count("last words") == 2
