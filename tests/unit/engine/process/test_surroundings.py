"""What has changed in the environment: whoever takes it over has what the kernel has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.engine.process.surroundings import EnvironmentChange, Followed, Surroundings, adopt, change_of

environments = st.dictionaries(st.sampled_from(["A", "B", "C", "D"]), st.sampled_from(["", "1", "2"]))


@given(environments, environments, st.sets(st.sampled_from(["A", "B"])))
def test_what_has_changed_leads_from_one_to_the_other_and_leaves_secrets_alone(
    before: dict[str, str], after: dict[str, str], secrets: set[str]
) -> None:
    change = change_of(Surroundings(before, "/a"), Surroundings(after, "/a"), secrets)
    reached = {**before, **change.environment}

    for name in "ABCD":
        assert reached.get(name) == (before if name in secrets else after).get(name)
    assert all(before.get(name) != value for name, value in change.environment.items())
    assert change.folder is None


def test_who_was_told_is_not_told_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    followed = Followed(Surroundings.here())
    told: list[EnvironmentChange] = []
    monkeypatch.setenv("SOME_NOTE", "x")
    monkeypatch.chdir(tmp_path)

    followed.bring(told.append, ())
    followed.bring(told.append, ())

    assert told == [EnvironmentChange({"SOME_NOTE": "x"}, str(tmp_path))]


def test_a_folder_that_is_gone_on_either_side_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert Surroundings.here().folder is None
    monkeypatch.chdir(tmp_path)
    adopt(EnvironmentChange({}, str(gone)))
    assert os.getcwd() == str(tmp_path)
