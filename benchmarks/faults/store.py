"""A store in this process that speaks S3 to boto3: counted, and one request failed."""

import contextlib
import hashlib
import io
import re
import urllib.parse
from collections.abc import Iterator
from unittest import mock
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError

from benchmarks.faults.disk import DIES, Killed
from steadyrank.pipeline.files import object_store

BUSY, ERROR, RESET, HALF, EMPTY, LOST = "503", "500", "reset", "half", "empty", "lost"
OUTAGE = "503 from then on"
FAULTS = {
    "GET": (DIES, ERROR, BUSY, RESET, HALF, EMPTY, OUTAGE),
    "HEAD": (DIES, ERROR, RESET, OUTAGE),
    "PUT": (DIES, ERROR, BUSY, RESET, LOST, OUTAGE),
    "DELETE": (DIES, ERROR, RESET, LOST, OUTAGE),
}
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "http://s3.invalid",
}


class _Raw(io.BytesIO):
    """A body; one that was cut off ends early."""

    def stream(self, *_, **__) -> Iterator[bytes]:
        yield self.read()


class Store:
    """One bucket, ``bucket``.

    Attributes:
        objects: Key -> bytes.
        done: Method and key of each request since ``watching`` began.
    """

    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self.done, self.turn, self.fault = [], -1, None
        self.dead = self.struck = False

    @contextlib.contextmanager
    def watching(self, turn: int = -1, fault: str | None = None) -> Iterator["Store"]:
        """Count requests, and let the one of a turn fail."""
        self.turn, self.fault, self.done = turn, fault, []
        self.dead = self.struck = False
        try:
            yield self
        finally:
            self.turn, self.fault, self.dead = -1, None, False

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Let this project's own clients talk to it."""
        with mock.patch.dict("os.environ", SETTINGS), mock.patch("time.sleep"):
            object_store._files_of.cache_clear()
            client = object_store._files("s3://bucket").client
            client.meta.events.register_first("before-send.s3", self._answer)
            yield
            object_store._files_of.cache_clear()

    def _answer(self, request, **_) -> AWSResponse:
        if self.dead:
            raise Killed
        parts = urllib.parse.urlsplit(request.url)
        key = urllib.parse.unquote(parts.path).removeprefix("/bucket").lstrip("/")
        method, query = request.method, dict(urllib.parse.parse_qsl(parts.query))
        self.done.append((method, key or f"list {query.get('prefix', '')}"))
        fault = self.fault if len(self.done) - 1 == self.turn else None
        if self.fault == OUTAGE and len(self.done) > self.turn >= 0:
            fault = OUTAGE
        self.struck |= fault is not None
        if fault == DIES:
            self.dead = True
            raise Killed
        if fault in (ERROR, BUSY, OUTAGE):
            return self._response(request, 500 if fault == ERROR else 503, b"")
        if fault == RESET:
            raise ConnectionClosedError(endpoint_url=request.url)
        status, content, headers = self._do(method, key, query, request)
        if fault == LOST:
            raise ConnectionClosedError(endpoint_url=request.url)
        if fault == EMPTY:
            content, headers = b"", {**headers, "Content-Length": "0"}
        given = content[: len(content) // 2] if fault == HALF else content
        if fault == HALF and not key:  # urllib3 tells of a list that was cut off
            raise ConnectionClosedError(endpoint_url=request.url)
        return self._response(request, status, given, headers)

    def _response(self, request, status, content, headers=()) -> AWSResponse:
        return AWSResponse(request.url, status, dict(headers), _Raw(content))

    def _do(self, method: str, key: str, query: dict, request) -> tuple:
        if method == "PUT":
            return self._put(key, request)
        if method == "DELETE":
            self.objects.pop(key, None)
            return 204, b"", {}
        if not key:
            return (
                (200, self._listed(query.get("prefix", "")), {})
                if method == "GET"
                else (
                    200,
                    b"",
                    {},
                )
            )
        if key not in self.objects:
            return 404, b"", {}
        return self._get(method, key, request)

    def _get(self, method: str, key: str, request) -> tuple:
        content = self.objects[key]
        headers = {"ETag": _tag(content), "Content-Length": str(len(content))}
        if _header(request, "If-Match") not in (None, headers["ETag"]):
            return 412, b"", {}
        if method == "HEAD":
            return 200, b"", headers
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", _header(request, "Range") or ""):
            content = content[int(wanted[1]) : int(wanted[2]) + 1]
            return 206, content, {**headers, "Content-Length": str(len(content))}
        return 200, content, headers

    def _put(self, key: str, request) -> tuple:
        held = self.objects.get(key)
        if _header(request, "If-None-Match") == "*" and held is not None:
            return 412, b"", {}
        wanted = _header(request, "If-Match")
        if wanted is not None and (held is None or wanted != _tag(held)):
            return 412, b"", {}
        body = request.body
        content = body.read() if hasattr(body, "read") else bytes(body or b"")
        if "aws-chunked" in (_header(request, "Content-Encoding") or ""):
            content = _unchunked(content)
        self.objects[key] = content
        return 200, b"", {"ETag": _tag(content)}

    def _listed(self, prefix: str) -> bytes:
        found = {k: len(v) for k, v in sorted(self.objects.items()) if k.startswith(prefix)}
        rows = "".join(
            f"<Contents><Key>{escape(k)}</Key><Size>{n}</Size></Contents>"
            for k, n in found.items()
        )
        counted = f"<KeyCount>{len(found)}</KeyCount><IsTruncated>false</IsTruncated>"
        return f"<ListBucketResult>{counted}{rows}</ListBucketResult>".encode()


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'  # noqa: S324 (as S3 does)


def _header(request, name: str) -> str | None:
    value = request.headers.get(name)
    return value.decode() if isinstance(value, bytes) else value


def _unchunked(content: bytes) -> bytes:
    """A body in chunks, each after its size in hex."""
    found, rest = b"", content
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if not length:
            break
        found, rest = found + rest[:length], rest[length + 2 :]
    return found
