"""What goes to a server goes by a thread of its own: who has something to tell never waits.

A server that does not answer, or not in time, costs a training nothing but its place there.
"""

import threading
from collections.abc import Mapping, Sequence

from steadyrank.pipeline.tracking.server import POINTS, Point, Run

GATHER_SECONDS = 1.0  # between requests: what comes meanwhile goes together
END_SECONDS = 10.0  # that are waited at the end for what is still to go
MOST_WAITING = 100_000  # numbers: some 10 MB


class Sender:
    """Sends to a run, in order, until something fails; from then on it sends nothing.

    Args:
        run: Where to; only the thread speaks to it.
        before: Name -> the last step that was sent by an earlier process: what goes on
            from a checkpoint takes these steps again, and their numbers are there.

    Attributes:
        failure: Why nothing is sent any more; "": it is.
        sent: Name -> the last step that was sent.
    """

    def __init__(self, run: Run, before: Mapping[str, int] | None = None):
        self.run, self.failure = run, ""
        self.sent = self._before = dict(before or {})
        self._points: list[Point] = []
        self._tags: dict[str, str] = {}
        self._status: str | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def points(self, points: Sequence[Point]) -> None:
        """Numbers to send."""
        with self._changed:
            if len(self._points) + len(points) > MOST_WAITING:
                self.failure = self.failure or "it falls behind"
            if not self.failure:
                self._points += points
                self._changed.notify()

    def tags(self, tags: Mapping[str, str]) -> None:
        """Texts to send; the last one of a name counts."""
        with self._changed:
            if not self.failure:
                self._tags |= tags
                self._changed.notify()

    def take_again(self) -> None:
        """From now on steps are other ones than those of the same number before."""
        self._before = {}

    def close(self, status: str, seconds: float = END_SECONDS) -> None:
        """Send what is left and end the run, if the server takes it in so long."""
        with self._changed:
            self._status = status
            self._changed.notify()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self.failure = self.failure or f"no answer within {seconds:g} s"

    def _work(self) -> None:
        try:
            self.run.open()
            if self.run.is_fresh:
                self.sent = self._before = {}
            while not self._send():
                pass
        except Exception as error:  # whatever it is: nothing hangs on it
            self.failure = self.failure or _in_a_line(error)

    def _send(self) -> bool:
        """Send what waits; whether that was the last."""
        points, tags, status = self._next()
        left = [p for p in points if p.step > self._before.get(p.name, -1)]
        if self.failure:
            return True
        if left or tags:
            self.run.send(left, tags)
            self.sent = {**self.sent, **{point.name: point.step for point in left}}
        if status is not None:
            self.run.end(status)
        return status is not None

    def _next(self) -> tuple[list[Point], dict[str, str], str | None]:
        with self._changed:
            self._changed.wait_for(lambda: self._points or self._tags or self._is_over())
            if len(self._points) < POINTS:
                self._changed.wait_for(self._is_over, GATHER_SECONDS)
            points, tags = self._points[:POINTS], self._tags
            self._points, self._tags = self._points[POINTS:], {}
            return points, tags, None if self._points else self._status

    def _is_over(self) -> bool:
        return self._status is not None or bool(self.failure)


def _in_a_line(error: BaseException) -> str:
    chain: list[BaseException | None] = [error]
    while chain[-1] is not None:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)
    kinds = {kind.__name__ for each in chain for kind in type(each).__mro__}
    if kinds & {"ConnectionError", "Timeout"}:  # of requests, which MLflow brings
        return "it does not answer"
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 300 else f"{said[:300]}..."
