"""A server before a store that answers some requests as a store does on a bad day."""

import contextlib
import http.client
import itertools
import threading
from collections.abc import Collection, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from steadyrank.pipeline.files import object_reader

FAULTS = ("500", "503", "reset", "half", "empty", "lost")


class FailingStore:
    """Passes requests on to another server, and fails those that it is told to.

    Args:
        host, port: Of the other server.

    Attributes:
        fails: Called with each request's method and path; gives one of ``FAULTS``, or
            None.  ``half``: of a body; ``empty``: an answer of success without one;
            ``lost``: the answer to what was done.
        asked: Method and path of each request.
    """

    def __init__(self, host: str, port: int):
        store, self.fails, self.asked = self, lambda method, path: None, []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                """Nothing."""

            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size) if size else None
                store.asked.append((self.command, self.path))
                fault = store.fails(self.command, self.path)
                if fault in ("500", "503"):
                    self.send_response(int(fault))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if fault == "reset":
                    self.cut()
                    return
                other = http.client.HTTPConnection(host, port, timeout=30)
                other.request(self.command, self.path, body, dict(self.headers))
                found = other.getresponse()
                content = found.read()
                other.close()
                if fault == "lost":
                    self.cut()
                    return
                length = found.getheader("Content-Length") or str(len(content))
                if fault == "empty":
                    content, length = b"", "0"
                self.send_response(found.status)
                for name, value in found.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(
                        content[: len(content) // 2] if fault == "half" else content
                    )
                if fault == "half":
                    self.cut()

            def cut(self):
                self.close_connection = True
                self.connection.close()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self.server.shutdown()
        self.server.server_close()

    def fail(self, fault: str, turns: Collection = (0,), method: str = "GET"):
        """Let the requests of some numbers fail; gives their counter."""
        count = itertools.count()

        def fails(told, path):
            return fault if told == method and next(count) in turns else None

        self.fails = fails
        return count

    def heal(self) -> None:
        """Let no request fail."""
        self.fails = lambda method, path: None


@contextlib.contextmanager
def failing_bucket(name: str) -> Iterator[FailingStore]:
    """A bucket of such a store, the environment that leads to it, and no waits."""
    import boto3
    from moto.server import ThreadedMotoServer

    thread = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    failing = FailingStore(*thread.get_host_and_port())
    settings = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": failing.url,
    }
    with pytest.MonkeyPatch.context() as patch:
        for key, value in settings.items():
            patch.setenv(key, value)
        patch.setattr(object_reader, "WAITS", (0.0, 0.0))
        boto3.client("s3").create_bucket(Bucket=name)
        yield failing
    failing.stop()
    thread.stop()
