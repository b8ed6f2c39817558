"""Prompts: templates and environments of Jinja travel, and count by what they say."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
from jinja2.sandbox import SandboxedEnvironment

from tensorlake_nb import Graph, tensorlake_function
from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.travel import pickler as travel
from tensorlake_nb.engine.travel import unpickler
from tensorlake_nb.store.codecs.classes import ModuleResolver
from tensorlake_nb.store.codecs.pickles import pickled, unpickled
from tests.support.notes import Notes

PAGES = {
    "base": "x {% block body %}{{ y|upper }}{% endblock %}",
    "page": "{% extends 'base' %}{% block body %}hi {{ y|shout }}{% endblock %}",
}


def shout(text: object) -> str:
    return f"{text}!"


def environment(pages: dict[str, str] = PAGES, shout: Any = shout) -> jinja2.Environment:
    made = jinja2.Environment(loader=jinja2.DictLoader(pages), autoescape=jinja2.select_autoescape())
    made.filters["shout"] = shout
    made.globals["site"] = "here"
    return made


def test_a_template_is_replayed_until_its_text_changes(notes: Notes) -> None:
    def rendering(source: str) -> Graph:
        template = jinja2.Template(source)

        @tensorlake_function()
        def render(x: int) -> str:
            notes.add(x)
            return str(template.render(x=x))

        return Graph("rendering", render)

    results = [rendering(source).run(x=4).result() for source in ("a {{ x }}", "a {{ x }}", "b {{ x }}")]

    assert results == ["a 4", "a 4", "b 4"]
    assert notes.take() == ["4", "4"]


def test_a_loaders_template_and_an_environment_that_has_rendered_travel() -> None:
    for made in (
        environment(),
        environment(),
        SandboxedEnvironment(loader=jinja2.DictLoader({"page": "s {{ y }}"})),
    ):
        rendered = made.get_template("page").render(y="q")
        for held in (made, made.get_template("page")):
            for back in (
                unpickler.loads(travel.dumps(held)[0]),
                unpickled(pickled(held, ModuleResolver()), ModuleResolver()),
            ):
                template = back.get_template("page") if isinstance(back, jinja2.Environment) else back
                assert template.render(y="q") == rendered


def test_what_was_rendered_is_no_part_of_an_environment_its_pages_filters_and_globals_are() -> None:
    fresh, used = environment(), environment()
    used.get_template("page").render(y="q")
    other_filter = environment(shout=lambda text: f"{text}?")
    other_page = environment({**PAGES, "page": "bye"})
    other_global = environment()
    other_global.globals["site"] = "there"

    assert digest(fresh) == digest(used)
    assert len({digest(each) for each in (fresh, other_filter, other_page, other_global)}) == 4


@pytest.mark.parametrize(
    "source",
    [
        "{{ x }}",
        "{% macro m(z) %}[{{ z }}]{% endmacro %}{{ m(x) }}",
        "{% for i in range(x) %}{{ loop.index }}{% endfor %}",
    ],
)
def test_templates_of_one_text_are_one_and_nothing_of_them_is_unseen(source: str) -> None:
    template = jinja2.Template(source)

    def f(x: int) -> str:
        return str(template.render(x=x))

    assert digest(template) == digest(jinja2.Template(source)) != digest(jinja2.Template(source + " "))
    assert fingerprint(f).opaque == ()
    assert unpickler.loads(travel.dumps(template)[0]).render(x=2) == template.render(x=2)
