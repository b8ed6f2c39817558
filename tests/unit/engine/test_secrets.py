"""Secrets: in the environment during the call, and nowhere at any other time."""

from __future__ import annotations

import os
import pickle
import threading

import pytest

from tensorlake_nb import tensorlake_function
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.secrets import forget_secrets, install_secrets, shown
from tests.support.batches import RUN, Bench

NAME = "TENSORLAKE_NB_TEST_KEY"
CANARY = "canary-5f1e9d"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    forget_secrets(RUN)


def test_a_secret_is_there_during_the_call_only(bench: Bench) -> None:
    @tensorlake_function(secrets=[NAME])
    def length(x: int) -> int:
        return len(os.environ[NAME])

    install_secrets(RUN, {NAME: CANARY})
    receipt = bench.run_one(bench.batch(bench.call(length), [1]))

    assert bench.values(receipt) == [len(CANARY)]
    assert NAME not in os.environ


def test_a_function_that_did_not_ask_does_not_see_it(bench: Bench) -> None:
    @tensorlake_function
    def sees(x: int) -> bool:
        return NAME in os.environ

    install_secrets(RUN, {NAME: CANARY})

    assert bench.values(bench.run_one(bench.batch(bench.call(sees), [1]))) == [False]


def test_what_stood_there_before_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "before")
    install_secrets(RUN, {NAME: CANARY})

    with shown(RUN, [NAME]) as values:
        assert values == (CANARY,)
        assert os.environ[NAME] == CANARY
    assert os.environ[NAME] == "before"


def test_overlapping_calls_keep_it_until_the_last_one_ends() -> None:
    install_secrets(RUN, {NAME: CANARY})
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with shown(RUN, [NAME]):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with shown(RUN, [NAME]):
        thread.start()
        assert inside.wait(10)
    assert os.environ[NAME] == CANARY
    leave.set()
    thread.join()
    assert NAME not in os.environ


def test_hiding_takes_an_inherited_value_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, CANARY)
    install_secrets(RUN, {NAME: CANARY}, hide=True)

    assert NAME not in os.environ
    with shown(RUN, [NAME]):
        assert os.environ[NAME] == CANARY


def test_a_canary_appears_in_no_receipt(bench: Bench) -> None:
    @tensorlake_function(secrets=[NAME])
    def leaks(x: str) -> int:
        key = os.environ[NAME]
        print("key:", key)
        if x == "raise":
            raise ValueError(f"refused {key}")
        return 1

    install_secrets(RUN, {NAME: CANARY})
    receipt = bench.run_one(bench.batch(bench.call(leaks), ["fine", "raise", CANARY], stop_on_failure=False))

    data = pickle.dumps((receipt, bench.messages))
    assert CANARY.encode() not in data
    assert "ValueError: refused ***" in receipt.failures[0].error
    assert receipt.logs[0].text == "key: ***\n"


def test_runs_have_secrets_of_their_own() -> None:
    other = RunId("20260102-000000-abcdef")
    install_secrets(RUN, {NAME: "mine"})
    install_secrets(other, {NAME: "theirs"})
    try:
        with shown(other, [NAME]):
            assert os.environ[NAME] == "theirs"
    finally:
        forget_secrets(other)
