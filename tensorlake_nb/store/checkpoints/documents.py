"""Small objects by path, apart from checkpoints: what runs keep, and what was found damaged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from tensorlake_nb.errors import CheckpointNotFoundError, CorruptCheckpointError, StoreVersionError
from tensorlake_nb.store.filesystems.protocol import Filesystem
from tensorlake_nb.store.filesystems.retrying import expected, listed
from tensorlake_nb.store.format.paths import RUNS, checked_part, run_path, state_path
from tensorlake_nb.store.format.sealing import seal, unseal
from tensorlake_nb.store.format.trust import Keys

logger = logging.getLogger(__name__)

_MOST_REPORTS = 1000


class Documents:
    """Objects below ``runs/``, each sealed so that damage shows.

    Attributes
    ----------
    trusted
        Everything in it may be believed: it is the user's own, or said to be.
    keys
        Objects signed with them are believed in any store.
    damage
        The damage found through this object, the first thousand cases; for the caller to warn about.
    """

    def __init__(self, filesystem: Filesystem, *, trusted: bool, keys: Keys) -> None:
        self.filesystem, self.trusted, self.keys = filesystem, trusted, keys
        self.damage: list[str] = []
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        return self.filesystem.url

    @property
    def is_local(self) -> bool:
        """True if an outcome added to a writer survives its process at once."""
        return self.filesystem.is_local

    @property
    def is_shared(self) -> bool:
        """Other processes see the same store: false for ``memory://``."""
        return self.filesystem.is_shared

    @property
    def signing_keys(self) -> Keys | None:
        """The keys to sign with, if a signature helps: a later process, or readers of a store that others fill."""
        return self.keys if self.keys.is_lasting or not self.trusted else None

    def signed(self, path: str, content: bytes) -> bytes:
        """Return a JSON object as stored at ``path``: signed, where a signature is worth anything."""
        return content if self.signing_keys is None else self.signing_keys.sign_document(path, content)

    def vouches(self, path: str, content: bytes) -> bool:
        """Return True if the user wrote that JSON object to that path."""
        return self.trusted or self.keys.fit_document(path, content)

    def put_bytes(self, path: str, data: bytes) -> bool:
        """Keep an object below ``runs/``; one that is there already stays, and the answer is ``False``."""
        return self.filesystem.create(run_path(path), seal(path, data))

    def get_bytes(self, path: str) -> bytes:
        """Return an object below ``runs/``.

        Raises
        ------
        CheckpointNotFoundError, CorruptCheckpointError, StoreVersionError
        """
        try:
            raw = expected(lambda: self.filesystem.get(run_path(path)))
        except FileNotFoundError:
            raise CheckpointNotFoundError(f"{path} isn't in {self.url}") from None
        return self._unsealed(path, raw)

    def get_all_bytes(self, paths: Sequence[str]) -> list[bytes | None]:
        """Many objects below ``runs/`` at once; ``None`` for those that are missing, or damaged and reported."""
        found: list[bytes | None] = []
        raws = listed(self.filesystem.get_many, [run_path(path) for path in paths])
        for path, raw in zip(paths, raws, strict=True):
            try:
                found.append(None if raw is None else self._unsealed(path, raw))
            except (CorruptCheckpointError, StoreVersionError):
                found.append(None)
        return found

    def list(self, path: str) -> Sequence[str]:
        """Names of what lies directly below ``runs`` or a path there, sorted."""
        return sorted(self.filesystem.list(path if path == RUNS else run_path(path)))

    def put_state(self, run_id: str, key: str, data: bytes) -> None:
        """Set one value of a run's shared state; others see the old one or the new one."""
        path = state_path(checked_part(run_id), key)
        self.filesystem.put_atomic(path, seal(path, data))

    def get_state(self, run_id: str, key: str) -> bytes | None:
        """One value of a run's shared state, ``None`` if it was never set.

        Raises
        ------
        CorruptCheckpointError
            It was set, and is damaged.
        """
        path = state_path(checked_part(run_id), key)
        try:
            raw = self.filesystem.get(path)
        except FileNotFoundError:
            return None
        return self._unsealed(path, raw)

    def report(self, reason: str) -> None:
        """Note something damaged that was left out."""
        with self._lock:
            if reason not in self.damage and len(self.damage) < _MOST_REPORTS:
                self.damage.append(reason)
        logger.warning("%s", reason)

    def _unsealed(self, path: str, raw: bytes) -> bytes:
        try:
            return unseal(path, raw, vouched=self.trusted)
        except (CorruptCheckpointError, StoreVersionError) as error:
            self.report(str(error))
            raise
