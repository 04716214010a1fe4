"""One side in a process of its own: builds its model, then trains when told to.

Started by ``benchmarks.peers``.  A line ``[batch size, seconds]`` on standard input
asks for about so many seconds of training; a JSON object answers, with the loss on the
first batch of all before anything was learned, and on that of this size afterwards.
Nothing but NumPy is imported here before the side is known: the peers' environment has
not this project's packages.
"""

import importlib
import json
import sys
import time

import numpy as np

FEWEST_STEPS = 2  # of a round: a dense step over 8 M rows may take seconds


def main(side: str, model: str, path: str) -> None:
    """Answer requests until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print what they like
    side = importlib.import_module(f"benchmarks.peers.{side}")
    with np.load(path) as rows:
        trainer = side.Trainer(model, dict(rows))
    answer(answers, {"versions": side.VERSIONS})
    steps, first_loss = {}, None
    for request in sys.stdin:
        batch_size, seconds = json.loads(request)
        if batch_size not in steps:
            loss = trainer.train(batch_size, 1)  # traces and allocates
            first_loss = loss if first_loss is None else first_loss
            steps[batch_size] = steps_in(trainer, batch_size, seconds)
        start = time.perf_counter()
        trainer.train(batch_size, steps[batch_size])
        taken = time.perf_counter() - start
        # every call starts at the first batch: the same rows, so a few steps can be seen
        loss = trainer.train(batch_size, 1)
        done = {"steps": steps[batch_size], "seconds": taken}
        answer(answers, {**done, "first_loss": first_loss, "loss": loss})


def steps_in(trainer, batch_size: int, seconds: float) -> int:
    """How many steps take about so long."""
    start = time.perf_counter()
    trainer.train(batch_size, FEWEST_STEPS)
    taken = (time.perf_counter() - start) / FEWEST_STEPS
    return max(FEWEST_STEPS, int(seconds / taken))


def answer(stream, value: dict) -> None:
    print(json.dumps(value), file=stream, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
