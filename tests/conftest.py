"""Settings of all tests, and what several kinds of them share."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

_ROOT = Path(__file__).parents[1]

# a deadline per example measures the machine; the examples that failed are kept in .hypothesis and tried first
settings.register_profile("tensorlake", deadline=None, print_blob=True)
settings.load_profile("tensorlake")


_begun: set[str] = set()
#: The marks of all tests in a folder.
_MARKS = {
    "browser": ("browser", "slow"),
    "fault": ("fault", "slow"),
    **dict.fromkeys(("frontend", "integration", "notebooks", "property", "typing"), ("slow",)),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        top, *below = item.path.relative_to(_ROOT).parts
        uses_s3 = "s3" in getattr(item, "fixturenames", ())
        for mark in _MARKS.get(below[0] if top == "tests" else top, ("slow",) if uses_s3 else ()):
            item.add_marker(mark)


def pytest_collectstart() -> None:
    gc.disable()  # all that collecting imports stays


def pytest_collection_finish() -> None:
    gc.enable()


def pytest_runtest_logstart(location: tuple[str, int | None, str]) -> None:
    """Before the first test of a file, take what there is out of sight of the garbage collector.

    Test modules import most of what there is; full collections, which folds ask for, would go through it each time.
    """
    if location[0] not in _begun:
        _begun.add(location[0])
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test that is marked ``alone`` have the machine to itself: with ``-n`` the other processes wait."""
    run = getattr(item.config, "workerinput", {}).get("testrunuid")
    if run is None:
        return (yield)
    import fcntl  # not on Windows, where nothing runs beside

    at = Path(tempfile.gettempdir(), f"tensorlake-nb-tests-{run}")
    at.mkdir(exist_ok=True)
    with (at / "turn").open("w") as turn, (at / "machine").open("w") as machine:
        fcntl.flock(turn, fcntl.LOCK_EX)  # whoever waits for the machine is next
        fcntl.flock(machine, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(turn, fcntl.LOCK_UN)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write output that isn't valid UTF-8 with escapes: processes that tests are spread over send it to each other."""
    report = yield
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session", autouse=True)
def _validated() -> Iterator[None]:
    """Hold the invariants of a run's state after each event of whatever is driven in this process."""
    from tests.support.validated import evolve_validated  # tests of packaging may come to pass without numpy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tensorlake_nb.core.planning.turn.evolve", evolve_validated)
        yield


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, Any]]:
    """An S3 server on loopback with an empty bucket, and how to reach it."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    reached = {"endpoint_url": f"http://{host}:{port}", "key": "test", "secret": "test"}
    client = boto3.client(
        "s3",
        endpoint_url=reached["endpoint_url"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="bucket")
    client.close()
    yield reached
    server.stop()
