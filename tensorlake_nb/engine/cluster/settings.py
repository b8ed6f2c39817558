"""Settings, read from ``configure()``, then the environment, then the defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from pydantic import Field, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tensorlake_nb.errors import OptionError


class Settings(BaseSettings):
    """Settings and their environment variables (``TENSORLAKE_NB_STORE`` and so on).

    Those that `configure` returns are a context: at its end, what was in force before is so again.

    Attributes
    ----------
    store
        URL or path of the checkpoint store.
    cluster
        ``"embedded"``, ``"threads"``, the address of a Dask scheduler, or a ``distributed.Client``.
    workers
        Worker processes of the embedded cluster; ``None``: one per CPU.
    trust_store
        True if pickles in the store may be loaded; ``None``: only if the store is the user's own.
    checkpoint_interval
        Seconds of finished work that may be at risk on an object store.
    store_patience
        Seconds that a run waits for a store that is full or away, its results kept meanwhile.
    """

    model_config = SettingsConfigDict(env_prefix="TENSORLAKE_NB_", arbitrary_types_allowed=True, extra="forbid")

    store: str = ".tensorlake"
    cluster: Any = "embedded"
    workers: int | None = Field(default=None, ge=1)
    trust_store: bool | None = None
    checkpoint_interval: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    store_patience: float = Field(default=300.0, ge=0)
    _restore: Callable[[], None] | None = PrivateAttr(default=None)

    @property
    def starts_cluster(self) -> bool:
        """True if this process starts the cluster and ends it."""
        return isinstance(self.cluster, str) and self.cluster in ("embedded", "threads")

    def is_same_cluster(self, other: Settings) -> bool:
        """Tell whether two settings mean the same workers; two clients are never the same."""
        ours, theirs = self.cluster, other.cluster
        return self.workers == other.workers and (ours is theirs or (isinstance(ours, str) and ours == theirs))

    def is_same_store(self, other: Settings) -> bool:
        """Tell whether two settings mean the same store, trusted alike."""
        return (self.store, self.trust_store) == (other.store, other.trust_store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._restore is not None:
            self._restore()


def read_settings(**given: Any) -> Settings:
    """Return the settings: the environment, overridden by the arguments given.

    Raises
    ------
    OptionError
        A value doesn't fit, or there is no such setting.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise OptionError(f"configure(): {problems}. Settings are {', '.join(Settings.model_fields)}.") from error
