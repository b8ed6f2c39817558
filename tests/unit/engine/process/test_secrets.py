"""Secrets: in the environment during the call, and nowhere at any other time."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import threading
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tensorlake_nb import tensorlake_function
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.calls.failure_text import failure_of
from tensorlake_nb.engine.process.secrets import forget_secrets, install_secrets, shown, without
from tests.support.batches import RUN, Bench

NAME = "TENSORLAKE_NB_TEST_KEY"
CANARY = "canary-5f1e9d"


@dataclasses.dataclass
class Held:
    text: str


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


@pytest.mark.parametrize(
    "told",
    [
        lambda secret: secret,
        repr,
        json.dumps,
        lambda secret: quote(secret, safe=""),
        lambda secret: f"Basic {b64encode(secret.encode()).decode()}",
        lambda secret: secret.splitlines()[1],
        lambda secret: " ".join(secret.split()),
    ],
)
def test_a_secret_is_blotted_out_in_whatever_form_it_is_told(told: Callable[[str], str]) -> None:
    secret = 'begin "key"\nabcdefgh\\ijklm/+=\nend é'

    assert "abcdefgh" not in without(f"before {told(secret)} after", [secret])
    assert "YWJj" not in without(f"before {told(secret)} after", [secret])


@pytest.mark.parametrize("given", [lambda s: s, lambda s: [s], lambda s: s.encode(), lambda s: Held(s)])
def test_half_a_secret_is_not_left_where_a_repr_is_cut(given: Callable[[str], Any]) -> None:
    secret = "s3cr3t-" * 60

    failure = failure_of(0, ValueError("no"), given(secret), secrets=(secret,))

    assert "s3cr3t" not in failure.input_repr
