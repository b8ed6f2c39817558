"""What programs and C libraries write to a process's descriptors is taken for the calls made there."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from tensorlake_nb.engine.process.last_words import OutputFiles

ROOT = Path(__file__).parents[4]

PREPARED = """
import asyncio, ctypes, json, logging, multiprocessing, os, subprocess, sys, time
handler = logging.StreamHandler()
logging.getLogger("others").addHandler(handler)
from tensorlake_nb.engine.process import capture
from tensorlake_nb.engine.process.last_words import OutputFiles

libc = ctypes.CDLL(None)
kept = OutputFiles()
capture.take_descriptors(kept.paths.split("\\n"))
calls, said = [], {}

def call(work, *secrets):
    captured = capture.Captured()
    try:
        with captured:
            work()
    finally:
        calls.append([[line.stream, line.text] for line in captured.lines(0, secrets)])

def size(number=0):
    return os.fstat(kept._fds[number]).st_size

def until(is_so):
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)
"""


@dataclass
class Process:
    """A process that makes calls: what they wrote, what it has to say, and what came out of it."""

    calls: list[list[tuple[str, str]]]
    said: dict[str, object]
    stdout: str
    stderr: str


def process(tmp_path: Path, script: str) -> Process:
    """Run a script in a process whose descriptors are taken."""
    at_last = f"\nwith open({str(tmp_path / 'calls')!r}, 'w') as file:\n    json.dump([calls, said], file)"
    program = PREPARED + textwrap.dedent(script) + at_last
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    calls, said = json.loads((tmp_path / "calls").read_text())
    return Process([[(stream, text) for stream, text in call] for call in calls], said, done.stdout, done.stderr)


def test_each_call_has_what_programs_and_c_libraries_write_in_the_order_of_its_prints(tmp_path: Path) -> None:
    done = process(
        tmp_path,
        """
        def work(number):
            print("printed", number)
            os.system("echo a program")
            print("printed again")
            libc.puts(b"a library")
            sys.stdout.buffer.write(b"bytes\\n")
            print("not redirected", file=sys.__stdout__)
            subprocess.run(["echo", "given stdout"], stdout=sys.stdout, check=True)
            libc.puts(b"not flushed %d" % number)

        with capture.redirected():
            call(lambda: work(1))
            call(lambda: work(2))
        """,
    )

    def expected(number: int) -> str:
        return (
            f"printed {number}\na program\nprinted again\na library\nbytes\nnot redirected\ngiven stdout\n"
            f"not flushed {number}\n"
        )

    assert done.calls == [[("stdout", expected(1))], [("stdout", expected(2))]]
    assert (done.stdout, done.stderr) == ("", "")


def test_the_two_descriptors_are_told_apart_and_letters_come_whole(tmp_path: Path) -> None:
    done = process(
        tmp_path,
        r"""
        def work():
            os.write(2, b"to the other\n")
            os.write(1, "\N{SNOWMAN}".encode()[:2])
            print(end="")
            os.write(1, "\N{SNOWMAN}".encode()[2:] + b"\xff")

        def half():
            os.write(1, b"\xe2\x98")

        with capture.redirected():
            call(work)
            call(half)
            call(lambda: os.write(1, b"whole"))
        """,
    )

    assert sorted(done.calls[0]) == [("stderr", "to the other\n"), ("stdout", "\N{SNOWMAN}\\xff")]
    assert done.calls[1:] == [[("stdout", "\\xe2\\x98")], [("stdout", "whole")]]


def test_what_is_no_calls_goes_where_it_went_before(tmp_path: Path) -> None:
    done = process(
        tmp_path,
        """
        os.system("echo before")
        with capture.redirected():
            os.system("echo between >&2")
            until(lambda: not size(1))
            call(lambda: logging.getLogger("others").error("a log of others"))
            call(lambda: handler.handle(logging.LogRecord("others", 40, "", 0, "another thread's log", (), None)))
        os.system("echo after")
        libc.puts(b"at the end")
        """,
    )

    assert done.stdout == "before\nafter\nat the end\n"
    assert "between\n" in done.stderr
    assert "another thread's log\n" in done.stderr
    assert not any("another" in text for call in done.calls for _, text in call)


def test_a_secret_is_blotted_out_of_what_a_program_writes(tmp_path: Path) -> None:
    done = process(
        tmp_path, "with capture.redirected():\n    call(lambda: os.system('echo hunter2-hunter2'), 'hunter2')"
    )

    assert done.calls == [[("stdout", "***-***\n")]]


def test_a_flood_is_cut_and_its_file_is_emptied_while_it_lasts(tmp_path: Path) -> None:
    done = process(
        tmp_path,
        """
        def work():
            flood = subprocess.Popen(["yes"])
            sizes = [0]

            def has_shrunk():
                sizes.append(size())
                return sizes[-1] < sizes[-2]

            until(has_shrunk)
            flood.kill()
            flood.wait()

        with capture.redirected():
            call(work)
            call(lambda: os.system("echo calm"))
            said["left"] = size()
        """,
    )

    ((stream, text),) = done.calls[0]
    assert stream == "stdout"
    assert text.startswith("y\ny\n")
    assert text.endswith(f"[cut: more than {64 * 1024} characters]")
    assert len(text) < 65 * 1024
    assert done.calls[1] == [("stdout", "calm\n")]
    assert done.said["left"] == 0


def test_a_program_that_is_left_running_goes_on_and_is_heard_where_it_went_before(tmp_path: Path) -> None:
    done = process(
        tmp_path,
        """
        left = []
        program = "read _; echo later; yes | head -c 5000000; echo the last"
        def work():
            left.append(subprocess.Popen(["sh", "-c", program], stdin=subprocess.PIPE))

        with capture.redirected():
            call(work)
        left[0].stdin.close()
        said["ended with"] = left[0].wait(60)
        until(lambda: size() == 0 and not capture._descriptors._left)
        """,
    )

    assert done.calls == [[]]
    assert done.said["ended with"] == 0
    assert done.stdout.startswith("later\n")
    assert len(done.stdout) < 5_000_000


def test_a_shell_may_empty_the_file_by_its_name(tmp_path: Path) -> None:
    done = process(
        tmp_path,
        """
        def work():
            os.system("echo one > /dev/stdout; echo two >> /dev/stdout")
            print("three")
            os.system("echo four > /dev/stdout")

        with capture.redirected():
            call(work)
        """,
    )

    assert done.calls == [[("stdout", "one\ntwo\nthree\nfour\n")]]


def test_what_forks_of_a_call_print_is_the_calls(tmp_path: Path) -> None:
    done = process(
        tmp_path,
        """
        def child(number):
            print("child", number)
            logging.getLogger().warning("a child's log")

        def work():
            fork = multiprocessing.get_context("fork").Process(target=child, args=(1,))
            fork.start()
            fork.join()

        with capture.redirected():
            call(work)
        """,
    )

    assert sorted(done.calls[0]) == [("stderr", "a child's log\n"), ("stdout", "child 1\n")]


def test_of_several_calls_under_way_none_has_what_may_be_anothers(tmp_path: Path) -> None:
    done = process(
        tmp_path,
        """
        async def work(number, both):
            captured = capture.Captured()
            with captured:
                await both.wait()
                print("mine", number)
                if number:
                    os.system("echo whose")
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                    os.system("echo surely mine")
            calls.append([[line.stream, line.text] for line in captured.lines(0)])
            return captured.is_lacking

        async def main():
            both = asyncio.Barrier(2)
            return await asyncio.gather(work(0, both), work(1, both))

        with capture.redirected():
            said["lacking"] = asyncio.run(main())
        """,
    )

    texts = sorted("".join(text for _, text in call) for call in done.calls)
    assert texts[0] == "mine 0\n"
    assert texts[1] == "mine 1\nsurely mine\n"
    assert "whose\n" in done.stdout
    assert done.said["lacking"] in ([True, True], [False, True], [True, False])


def test_a_call_that_closes_all_descriptors_doesnt_fail_for_it(tmp_path: Path) -> None:
    done = process(tmp_path, "with capture.redirected():\n    call(lambda: os.closerange(3, 64))")

    ((stream, text),) = done.calls[0]
    assert stream == "log"
    assert "what programs and C libraries write on this worker is in no log any more" in text


# -- what is left when a process has ended --


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_what_a_process_has_left_is_passed_on(
    has_memory_files: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create", raising=False)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = OutputFiles()
    out, err = files.paths.split("\n")
    subprocess.run(["sh", "-c", f"echo out >> {out}; echo err >> {err}"], check=True)
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600] * 2 * (not has_memory_files)
    files.forget_names()

    assert list(tmp_path.iterdir()) == []
    assert files.pass_on() == ("out\n", "err\n")
    assert files.pass_on() == ()
    assert capfd.readouterr() == ("out\n", "err\n")


def test_of_much_that_a_process_has_left_only_the_end_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    files = OutputFiles()
    out, _ = files.paths.split("\n")
    Path(out).write_bytes(b"x" * 1_000_000 + b"the end")

    (words,) = files.pass_on()
    assert words.endswith("xthe end")
    assert len(words) == 60 * 1024
    assert capfd.readouterr().out.startswith(f"[cut: {1_000_007 - 64 * 1024} bytes]\nxxx")
