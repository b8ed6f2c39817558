"""Output of calls: told apart, in order, bounded, without secrets."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.core.batches.receipt import LogLine
from tensorlake_nb.engine.process.capture import BatchLog, Captured, _Handler, redirected
from tensorlake_nb.engine.process.secrets import without


def test_streams_are_kept_in_the_order_in_which_they_came() -> None:
    captured = Captured()
    with redirected(), captured:
        print("one", "two")
        print("oops", file=sys.stderr)
        print("three")

    assert captured.lines(4) == (
        LogLine(4, "stdout", "one two\n"),
        LogLine(4, "stderr", "oops\n"),
        LogLine(4, "stdout", "three\n"),
    )


def test_calls_on_several_threads_are_told_apart() -> None:
    barrier = threading.Barrier(3)

    def call(number: int) -> str:
        captured = Captured()
        with captured:
            for _ in range(20):
                barrier.wait()
                print(number, end="")
        return "".join(line.text for line in captured.lines(0))

    with redirected(), ThreadPoolExecutor(3) as pool:
        texts = list(pool.map(call, range(3)))

    assert texts == ["0" * 20, "1" * 20, "2" * 20]


def test_what_belongs_to_no_call_goes_where_it_always_went(capsys: pytest.CaptureFixture[str]) -> None:
    with redirected():
        print("plain")
        with Captured():
            print("captured")

    assert capsys.readouterr().out == "plain\n"


def test_everything_is_put_back_after_the_last_batch() -> None:
    before = (sys.stdout, sys.stderr, warnings.showwarning, list(logging.getLogger().handlers))
    with redirected(), redirected():
        assert sys.stdout is not before[0]

    assert (sys.stdout, sys.stderr, warnings.showwarning, list(logging.getLogger().handlers)) == before


def test_a_log_call_with_wrong_arguments_is_shown_anyway() -> None:
    captured = Captured()
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "%d items", ("many",), None)
    with captured:
        _Handler().emit(record)

    assert "%d items" in captured.lines(0)[0].text


def test_long_output_is_cut_and_says_so() -> None:
    captured = Captured(limit=10)
    captured.add("stdout", "x" * 8)
    captured.add("stderr", "y" * 8)
    captured.add("stdout", "z" * 8)

    first, second = captured.lines(0)
    assert first.text == "x" * 8
    assert second.text == "yy\n[cut: more than 10 characters]"


def test_a_batch_is_bounded_as_well() -> None:
    log = BatchLog(limit=10)
    for offset in range(5):
        log.extend([LogLine(offset, "stdout", "12345678")])

    lines = log.lines()
    assert [line.offset for line in lines] == [0, 1]
    assert lines[1].text == "12\n[cut: the batch wrote more than 10 characters]"


def test_a_secret_is_blotted_out_even_when_it_is_written_in_pieces() -> None:
    captured = Captured()
    for letter in "the key is hunter2!":
        captured.add("stdout", letter)

    assert captured.lines(0, ["hunter2"])[0].text == "the key is ***!"


def test_half_a_secret_at_the_cut_is_blotted_out() -> None:
    captured = Captured(limit=1)
    captured.add("stdout", "x" * 4090 + "hunter2")

    assert "hun" not in captured.lines(0, ["hunter2"])[0].text


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=8), max_size=3), st.text(max_size=30))
def test_no_secret_survives(before: str, secrets: list[str], after: str) -> None:
    shown = without(before + "".join(secrets) + after, [secret for secret in secrets if "*" not in secret])

    assert all(secret not in shown for secret in secrets if not set(secret) & {"*"})


def test_a_thread_that_the_call_started_is_heard_in_a_process_of_its_own() -> None:
    script = """
import multiprocessing, sys, threading
from tensorlake_nb.engine.process.capture import Captured, redirected

def work(queue):
    captured = Captured()
    with redirected(), captured:
        thread = threading.Thread(target=lambda: print("from a thread"))
        thread.start(); thread.join()
    queue.put([line.text for line in captured.lines(0)])

if __name__ == "__main__":
    queue = multiprocessing.get_context("fork").Queue()
    process = multiprocessing.get_context("fork").Process(target=work, args=(queue,))
    process.start()
    sys.stdout.write(repr(queue.get()))
    process.join()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert done.stdout == "['from a thread\\n']", done.stderr
