"""A proxy before an S3 server that answers as a busy object store does: now and then, by a seeded draw."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
_PASSED_ON = ("content-type", "etag", "last-modified", "x-amz-request-id", "content-range", "accept-ranges")


class FaultyS3:
    """Passes requests on to ``target``, but for the shares of them that it is told to spoil.

    Attributes
    ----------
    throttled, dropped, dropped_after
        Shares of requests that are answered by 503 SlowDown, that lose their connection before they are passed on,
        and after they were done.
    delay_s
        How long a tenth of the requests takes longer.
    counts
        How many requests met what.
    """

    def __init__(self, target: str, seed: int) -> None:
        self.throttled = self.dropped = self.dropped_after = self.delay_s = 0.0
        self.counts: Counter[str] = Counter()
        self._draw = random.Random(seed)
        self._lock = threading.Lock()
        outer = self
        host = urlsplit(target).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                fate = outer.fate()
                if fate == "throttled":
                    self._answer(503, {"content-type": "application/xml"}, _SLOW_DOWN)
                    return
                if fate == "dropped":
                    self._hang_up()
                    return
                status, headers, answer = _asked(host, self.command, self.path, dict(self.headers), body)
                if fate == "dropped_after":
                    self._hang_up()
                    return
                self._answer(status, headers, answer)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                is_head = self.command == "HEAD"
                if not is_head or "content-length" not in headers:
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                if not is_head:
                    self.wfile.write(body)

            def _hang_up(self) -> None:
                self.close_connection = True
                self.connection.close()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that goes away is none of a test's business

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fate(self) -> str:
        """Return the fate of the next request."""
        with self._lock:
            draw, is_slow = self._draw.random(), self._draw.random() < 0.1
        fate = "passed"
        for name, share in (
            ("throttled", self.throttled),
            ("dropped", self.dropped),
            ("dropped_after", self.dropped_after),
        ):
            if draw < share:
                fate = name
                break
            draw -= share
        if is_slow and self.delay_s:
            time.sleep(self.delay_s)
        with self._lock:
            self.counts[fate] += 1
        return fate

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _asked(
    host: str, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        passed = {name: value for name, value in headers.items() if name.lower() not in ("connection", "expect")}
        connection.request(method, path, body=body, headers=passed)
        answer = connection.getresponse()
        content = answer.read()
        kept = {name.lower(): value for name, value in answer.getheaders() if name.lower() in _PASSED_ON}
        if method == "HEAD" and answer.getheader("content-length"):
            kept["content-length"] = str(answer.getheader("content-length"))
        return answer.status, kept, content
    finally:
        connection.close()
