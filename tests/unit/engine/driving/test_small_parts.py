"""Placement, settings, owners and the log's writer: each by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import psutil
import pytest

from tensorlake_nb.core.functions.policy import Gpu, Placement
from tensorlake_nb.core.planning import events as ev
from tensorlake_nb.engine.cluster.resources import check, required
from tensorlake_nb.engine.cluster.settings import read_settings
from tensorlake_nb.engine.driving.recorder import Recorder
from tensorlake_nb.errors import OptionError, PlacementError
from tensorlake_nb.store.owner import is_alive, this_process


def test_a_gpu_is_asked_for_that_stands_beside_enough_memory() -> None:
    workers = [{"GPU:A100": 1.0, "MEMORY": 8.0}, {"GPU:H100": 1.0, "MEMORY": 64.0}]
    placement = Placement(gpu=(Gpu("A100", 1), Gpu("H100", 1)), memory=32)

    assert required(placement, workers) == {"GPU:H100": 1.0, "MEMORY": 32.0}
    check({"node": placement}, workers)


def test_what_no_worker_has_is_refused_with_what_they_have() -> None:
    with pytest.raises(PlacementError, match=r"'node' asks for .*GPU:H100=1.*declare: GPU:A100=1"):
        check({"node": Placement(gpu=(Gpu("H100", 1),))}, [{"GPU:A100": 1.0}])


def test_what_a_cluster_does_not_declare_is_advice() -> None:
    assert required(Placement(cpu=64, memory=512, gpu=(Gpu("H100", 1),), region="eu"), [{}, {}]) == {}


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"workers": -1}, {"checkpoint_interval": -1.0}, {"colour": "red"}])
def test_a_setting_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        read_settings(**wrong)


def test_this_process_is_alive_and_one_that_ended_is_not_even_before_its_parent_asked() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = {**this_process(), "pid": child.pid, "created": psutil.Process(child.pid).create_time()}
    assert is_alive(this_process())
    assert is_alive(owner)

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert not is_alive(owner)
    child.communicate()
    assert not is_alive(owner)


def test_events_that_could_not_be_written_are_written_with_those_that_follow() -> None:
    class Flaky:
        def __init__(self) -> None:
            self.tries, self.kept = 0, list[Mapping[str, Any]]()

        def append(self, events: Sequence[Mapping[str, Any]]) -> None:
            self.tries += 1
            if self.tries < 3:
                raise OSError("no answer")
            self.kept += events

    log = Flaky()
    recorder = Recorder(cast(Any, log), 0.001)
    for number in range(50):
        recorder.record(ev.SlotsKnown(number))
        while log.tries < min(number, 2):
            pass
    recorder.close()

    assert [event["slots"] for event in log.kept] == list(range(50))
    assert recorder.error is None, "nothing is missing any more"
