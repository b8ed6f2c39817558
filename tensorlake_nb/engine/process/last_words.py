"""Files that descriptors 1 and 2 of a worker process lead to while it makes calls, as its kernel has them.

The kernel holds them, too, so that what a call wrote before it ended its process isn't lost with that.
"""

from __future__ import annotations

import os
import select
import tempfile
from contextlib import suppress

#: Tells a worker process which files it is to use.
VARIABLE = "TENSORLAKE_NB_OUTPUT_FILES"
#: How much of what is left is kept.
_LEFT_BYTES = 64 * 1024
#: Where that is cut, the first so many bytes may be the second half of a secret, and are in no message.
_HALF_BYTES = 4096
#: How long whoever reads what is passed on may keep us waiting (s).
_READER_S = 1.0


class OutputFiles:
    """Two files for one worker process: its ``stdout`` and its ``stderr``.

    Attributes
    ----------
    paths
        How the worker process finds them, for its environment.
    """

    def __init__(self) -> None:
        self._fds: list[int] = []
        self._names: list[str] = []
        paths = [self._made(name) for name in ("stdout", "stderr")]
        self.paths = "\n".join(paths)

    def _made(self, name: str) -> str:
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create(f"tensorlake-nb-{name}", os.MFD_CLOEXEC)
            path = f"/proc/{os.getpid()}/fd/{fd}"
            if os.path.exists(path):
                self._fds.append(fd)
                return path
            os.close(fd)
        fd, path = tempfile.mkstemp(prefix=f"tensorlake-nb-{name}-")  # for its owner only
        self._fds.append(fd)
        self._names.append(path)
        return path

    def pass_on(self) -> tuple[str, ...]:
        """Close the files; what the process has left in them goes where it would have gone without them.

        Returns
        -------
        words
            The text left in each non-empty file, or the end of it.
        """
        words = []
        for number, fd in enumerate(self._fds, start=1):
            size = os.fstat(fd).st_size
            data = os.pread(fd, _LEFT_BYTES, max(0, size - _LEFT_BYTES)).lstrip(b"\0")
            os.close(fd)
            if not data:
                continue
            is_cut = size > _LEFT_BYTES
            pass_on(number, f"[cut: {size - _LEFT_BYTES} bytes]\n".encode() + data if is_cut else data)
            words.append(data[_HALF_BYTES if is_cut else 0 :].decode("utf-8", "backslashreplace"))
        self._fds.clear()
        self.forget_names()
        return tuple(words)

    def forget_names(self) -> None:
        """Remove the names, if there are any: the worker process has opened the files."""
        while self._names:
            with suppress(OSError):
                os.unlink(self._names.pop())


def pass_on(fd: int, data: bytes) -> None:
    """Write to a descriptor; give up if there is no reader."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    for start in range(0, len(data), select.PIPE_BUF):
        if not poll.poll(_READER_S * 1000):
            return
        with suppress(OSError):  # nobody ever will
            os.write(fd, data[start : start + select.PIPE_BUF])
