"""Magic lines: what they mean, and that every mistake in them is one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from tensorlake_nb.notebook.magics.options import (
    VERBS,
    CellOptions,
    HelpShown,
    flags_of,
    read_cell_options,
    read_command,
    read_value,
    read_wire,
)


def test_a_name_alone_shows_the_graph() -> None:
    assert read_cell_options("pipeline") == CellOptions(name="pipeline", mode="show")


def test_all_options_of_a_cell() -> None:
    given_options = read_cell_options(
        "pipeline --wire 'fetch -> parse; fetch → index' --run n=3 who=ann --store /tmp/s --cluster threads"
    )

    assert given_options == CellOptions(
        name="pipeline",
        mode="run",
        inputs={"n": 3, "who": "ann"},
        wire=(("fetch", "parse"), ("fetch", "index")),
        store="/tmp/s",
        cluster="threads",
    )


def test_run_and_start_need_no_inputs() -> None:
    assert read_cell_options("pipeline --run").mode == "run"
    assert read_cell_options("pipeline --start").mode == "start"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-2.5", -2.5),
        ("True", True),
        ("None", None),
        ("[1, 'a']", [1, "a"]),
        ("{'a': 1}", {"a": 1}),
        ("ann", "ann"),
        ("2024-01-01", "2024-01-01"),
        ("a=b", "a=b"),
        ("", ""),
        ("__import__('os')", "__import__('os')"),
        ("(" * 500, "(" * 500),
    ],
)
def test_a_value_is_a_python_literal_or_else_text(text: str, value: object) -> None:
    assert read_value(text) == value
    assert type(read_value(text)) is type(value)


@given(st.one_of(st.integers(), st.text(), st.lists(st.integers()), st.booleans(), st.none()))
def test_the_repr_of_a_plain_value_reads_back(value: object) -> None:
    assert read_value(repr(value)) == value


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pipeline --runn", "unrecognized arguments: --runn (did you mean '--run'?)"),
        ("pipeline --wire fetch -> parse", "paths with spaces in them need quotes, as in --wire 'a -> b'"),
        ("pipeline --wire fetch →", "paths with spaces in them need quotes"),
        ("pipeline other", "unrecognized arguments: other"),
        ("pipeline --run n", "'n' isn't an input; write name=value"),
        ("pipeline --run 3n=1", "'3n=1' isn't an input"),
        ("pipeline --run n=1 n=2", "input 'n' is given twice"),
        ("pipeline --run n=1 --start n=1", "not allowed with argument --run"),
        ("pipeline --store", "argument --store: expected one argument"),
        ("pipeline --wire 'a -> '", "isn't a path"),
        ("pipeline --wire ''", "--wire names no function"),
        ("--wire 'a -> b'", "--wire makes a graph, so it needs a NAME"),
        ("n=3", "inputs follow --run or --start"),
        ("pipeline --run 'n=1", "No closing quotation"),
    ],
)
def test_a_wrong_option_of_a_cell_is_one_line(line: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_cell_options(line)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("%%tensorlake")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "the following arguments are required: VERB"),
        ("rum pipeline", "there is no 'rum'"),
        ("run", "the following arguments are required: GRAPH"),
        ("run pipeline n", "'n' isn't an input"),
        ("runs --limit many", "invalid int value: 'many'"),
        ("runs --limit 0", "--limit must be at least 1"),
        ("resume", "required: RUN"),
        ("gc --keep-runs few", "invalid int value: 'few'"),
        ("gc pipeline", "unrecognized arguments: pipeline"),
        ("verify", "verify: the following arguments are required: GRAPH."),
        ("why a b c", "unrecognized arguments: c"),
        ("verify g --smaple 1", "unrecognized arguments: --smaple 1 (did you mean '--sample'?)"),
    ],
)
def test_a_wrong_line_is_one_line(line: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_command(line)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["--help", *(f"{verb} --help" for verb in VERBS)])
def test_help_is_printed_and_nothing_is_run(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HelpShown):
        read_command(line)

    assert capsys.readouterr().out.startswith("usage: %tensorlake")


def test_the_cell_magic_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HelpShown):
        read_cell_options("--help")

    assert 'example:  %%tensorlake pipeline --wire "fetch -> parse -> total"' in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_read(verb: str) -> None:
    subject = " x" if verb in ("run", "start", "plan", "verify", "resume") else ""

    assert read_command(verb + subject).verb == verb


def test_wires_may_stand_on_one_line_with_empty_parts() -> None:
    assert read_wire(" a->b ;; b ->c; ", "%%tensorlake") == (("a", "b"), ("b", "c"))


def test_flags_are_offered_per_verb() -> None:
    assert flags_of("runs") == ["--help", "--limit"]
    assert flags_of(None) == ["--cluster", "--help", "--run", "--start", "--store", "--wire"]
    assert flags_of("nonsense") == []


def test_options_of_a_collection_are_those_of_collect() -> None:
    line = "gc --keep-runs 5 --dry-run --older-than 7d --max-bytes 10GB --grace 1h"

    assert read_command(line).collection == {
        "dry_run": True,
        "keep_runs": 5,
        "older_than": "7d",
        "max_bytes": "10GB",
        "grace": "1h",
    }
    assert read_command("gc").collection == {"dry_run": False}
    assert flags_of("gc") == ["--dry-run", "--grace", "--help", "--keep-runs", "--max-bytes", "--older-than"]


def test_a_run_may_be_detached_from_the_kernel() -> None:
    assert read_command("start pipeline --detach n=3").detach
    assert read_command("start pipeline --detach n=3").inputs == {"n": 3}
    assert not read_command("start pipeline n=3").detach
    with pytest.raises(UsageError, match="detach"):
        read_command("run pipeline --detach")


@pytest.mark.parametrize(
    "line",
    [
        "verify pipeline --sample 0.5 --seed 7 n=3 who=ann",
        "verify pipeline n=3 --sample 0.5 who=ann --seed 7",
        "verify --seed 7 --sample 0.5 pipeline n=3 who=ann",
    ],
)
def test_options_of_a_verification_stand_anywhere(line: str) -> None:
    command = read_command(line)

    assert (command.subject, command.inputs) == ("pipeline", {"n": 3, "who": "ann"})
    assert (command.sample, command.seed) == (0.5, 7)


@pytest.mark.parametrize(
    "line", ["verify", "verify pipeline --sample much", "verify pipeline --seed", "run p --seed 1"]
)
def test_a_verification_that_cannot_be_is_one_line(line: str) -> None:
    with pytest.raises(UsageError, match="See %tensorlake --help"):
        read_command(line)


def test_a_misspelt_verb_is_told_by_the_one_that_was_meant() -> None:
    with pytest.raises(
        UsageError, match=r"^%tensorlake: there is no 'runn' \(did you mean 'run'\?\). The verbs are run, "
    ):
        read_command("runn pipeline n=3")
