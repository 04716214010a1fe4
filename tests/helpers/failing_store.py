"""A server before a store that answers some requests as a store does on a bad day."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
