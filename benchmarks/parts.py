"""Parts of a study, each in a process of its own, side by side."""

import os
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# two small models at once are faster than two threads in one
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def run_parts(command: Iterable, parts: Iterable[str]) -> None:
    """Run ``command --only PART`` for each part, on as many cores as there are.

    Raises:
        subprocess.CalledProcessError: A part failed; what it printed says why.
    """
    words = [str(word) for word in command]

    def run(part: str) -> None:
        own = [*words, "--only", part]
        subprocess.run(own, check=True, cwd=ROOT, env={**os.environ, **ONE_THREAD})

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, parts))
