"""The options of a function, read and checked once, when it is decorated."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict

from tensorlake_nb.core.functions.policy import Placement, Retries, amount, whole_number
from tensorlake_nb.core.identifiers import checked_name, did_you_mean
from tensorlake_nb.errors import OptionError

if TYPE_CHECKING:
    from tensorlake_nb.core.functions.function import NodeLike


class FunctionKeywords(TypedDict, total=False):
    """The options of both decorators; :class:`FunctionOptions` says what they mean."""

    next: NodeLike | Collection[NodeLike] | None
    inject_ctx: bool
    retries: Retries | int | None
    timeout: float
    cpu: float
    memory: float
    ephemeral_disk: float
    gpu: str | Sequence[str] | None
    region: str | None
    max_concurrency: int | None
    secrets: Sequence[str] | None
    cacheable: bool
    version: str | None
    image: Any
    input_encoder: str
    output_encoder: str


#: Every option with Tensorlake's default, but for ``cacheable`` (there False) and ``max_concurrency`` (there 1).
DEFAULTS: Mapping[str, Any] = {
    "accumulate": None,
    "combine": None,
    **FunctionKeywords(
        next=None,
        inject_ctx=False,
        retries=None,
        timeout=300,
        cpu=1.0,
        memory=1.0,
        ephemeral_disk=2.0,
        gpu=None,
        region=None,
        max_concurrency=None,
        secrets=None,
        cacheable=True,
        version=None,
        image=None,
        input_encoder="cloudpickle",
        output_encoder="cloudpickle",
    ),
}
#: How many elements an async function has under way at once on a worker, unless it says otherwise.
ASYNC_CONCURRENCY = 10
ENCODERS = ("json", "cloudpickle")
_ANYWHERE = Placement()
_SECRET = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, eq=False)
class FunctionOptions:
    """The options of a function: how it is called, retried, placed and kept.

    Attributes
    ----------
    accumulate
        Gives the first accumulator of a reducer; None for anything but a reducer.
    combine
        Merges two accumulators of a reducer, the earlier one first; associative.
    next
        Where outputs go instead of along the graph's edges: functions, or names of nodes.
    inject_ctx
        True if the request context is the first argument.
    retries
        None takes the graph's.
    timeout
        Seconds that one call may take.
    max_concurrency
        Calls under way at once; None is no bound. An async function has 10 on one worker if it doesn't say.
    secrets
        Names of environment variables that the call sees.
    cacheable
        False confines replay to the same run.
    version
        Replaces the fingerprint of the code by the author's word.
    image
        Recorded, without effect: workers run in the environment they were started in.
    input_encoder, output_encoder
        ``"json"`` passes values through JSON; ``"cloudpickle"`` keeps them as they are.
    """

    accumulate: Callable[[], Any] | None = None
    combine: Callable[[Any, Any], Any] | None = None
    next: tuple[Any, ...] | None = None
    inject_ctx: bool = False
    retries: Retries | None = None
    timeout: float = 300.0
    placement: Placement = _ANYWHERE
    max_concurrency: int | None = None
    secrets: tuple[str, ...] = ()
    cacheable: bool = True
    version: str | None = None
    image: Any = None
    input_encoder: str = "cloudpickle"
    output_encoder: str = "cloudpickle"

    def plain(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, as plain data; functions by name."""
        plain: dict[str, Any] = {}
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name == "placement":
                plain.update(self.placement.asked)
            elif value != option.default:
                plain[option.name] = _plain(value)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Retries):
        return {option.name: getattr(value, option.name) for option in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, (str, int, float, bool)):
        return value
    return getattr(value, "name", None) or getattr(value, "__qualname__", None) or type(value).__qualname__


def check_option_names(owner: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise an :class:`OptionError` for the first name that is no option."""
    known = sorted(allowed)
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise OptionError(f"{owner}: there is no option {name!r}{hint}. The options are {', '.join(known)}.")


def read_options(owner: str, given: Mapping[str, Any], *, is_async: bool) -> FunctionOptions:
    """Check every option and bring it into its final form.

    Parameters
    ----------
    owner
        The owner of the options, for the message of the :class:`OptionError` that a bad value raises.
    given
        Values by the names in :data:`DEFAULTS`; what is missing has its default.
    is_async
        True if the function is an ``async def``, which is bounded even without the option.
    """
    value = {**DEFAULTS, **given}

    def refuse(option: str, allowed: str) -> OptionError:
        return OptionError(f"{owner}: {option}={value[option]!r} isn't allowed. {allowed}")

    for option in ("inject_ctx", "cacheable"):
        if not isinstance(value[option], bool):
            raise refuse(option, "Give True or False.")
    for option in ("input_encoder", "output_encoder"):
        if value[option] not in ENCODERS:
            raise refuse(option, 'Give "json" or "cloudpickle".')
    if value["accumulate"] is not None and not callable(value["accumulate"]):
        raise refuse("accumulate", "Give what makes the first accumulator: a class, or a function such as lambda: 0.")
    if value["combine"] is not None and not callable(value["combine"]):
        raise refuse("combine", "Give a function that merges two accumulators.")
    if value["combine"] is not None and value["accumulate"] is None:
        raise refuse("combine", "It merges accumulators, so it needs accumulate= as well.")
    concurrency = value["max_concurrency"]
    if concurrency is not None:
        whole_number(owner, "max_concurrency", concurrency, 1)
    return FunctionOptions(
        accumulate=value["accumulate"],
        combine=value["combine"],
        next=_targets(owner, value["next"]),
        inject_ctx=value["inject_ctx"],
        retries=None if value["retries"] is None else Retries.read(owner, value["retries"]),
        timeout=amount(owner, "timeout", value["timeout"], unit="seconds"),
        placement=Placement.parse(owner, value),
        max_concurrency=ASYNC_CONCURRENCY if concurrency is None and is_async else concurrency,
        secrets=_secrets(owner, value["secrets"]),
        cacheable=value["cacheable"],
        version=None if value["version"] is None else checked_name(f"{owner}: version", value["version"]),
        image=value["image"],
        input_encoder=value["input_encoder"],
        output_encoder=value["output_encoder"],
    )


def _secrets(owner: str, given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, (list, tuple)) and all(isinstance(name, str) and _SECRET.fullmatch(name) for name in given):
        return tuple(given)
    # a secret's value may have been given by mistake, so it isn't repeated here
    raise OptionError(f"{owner}: secrets= takes a list of names of environment variables, such as ['API_KEY'].")


def is_target(candidate: object) -> bool:
    """Tell whether something can be routed to: a decorated function or a TensorlakeCompute subclass."""
    if isinstance(candidate, type):
        return getattr(candidate, "__tensorlake_compute__", False) is True and (
            "__tensorlake_compute__" not in vars(candidate)  # the base class itself is no function
        )
    return getattr(candidate, "__tensorlake_function__", False) is True


def _targets(owner: str, given: object) -> tuple[Any, ...] | None:
    if given is None:
        return None
    targets = tuple(given) if isinstance(given, (list, tuple, set, frozenset)) else (given,)
    for target in targets:
        if not isinstance(target, str) and not is_target(target):
            name = getattr(target, "__qualname__", repr(target))
            raise OptionError(
                f"{owner}: next= can't hold {name}. Give functions decorated with @tensorlake_function, or their names."
            )
    return targets
