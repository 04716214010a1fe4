"""Runs that were done, kept on disk: a study of an hour can be interrupted."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from steadyrank.pipeline.files.publish import write_json


class Ledger:
    """A file of runs; each is written as soon as it has ended.

    Args:
        path: The file.
        resume: Whether to keep what an earlier study wrote there.
    """

    def __init__(self, path: Path, resume: bool):
        self.path, self.runs = path, {}
        if resume and path.exists():
            self.runs = json.loads(path.read_text(encoding="utf-8"))

    def has(self, settings: dict) -> bool:
        """Whether a run of these settings was kept."""
        return _key(settings) in self.runs

    def run(self, settings: dict, make: Callable[[], dict]) -> dict:
        """The run of these settings: the one that was kept, or a new one.

        Args:
            settings: All that the run's result depends on, beside the code and the data.
            make: Does the run; its result must be plain JSON.
        """
        key = _key(settings)
        if key not in self.runs:
            self.runs[key] = json.loads(json.dumps(make()))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.runs)
        return self.runs[key]


def _key(settings: dict) -> str:
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
