"""One worker of a training, which notes what it reads and what it sends of the tables.

    python -m benchmarks.workers_seen NOTES train --config ...

A process of ``benchmarks.workers``: the command line, with two functions watched.  NOTES is
a JSON file with ``rows``, a fingerprint of each row that this process trained on, and
``sent``: by step and table the rows, their width, how many ids they are of, and how many
readings were summed into them.
"""

import hashlib
import json
import sys
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import tensorflow as tf

from steadyrank.pipeline import cli
from steadyrank.pipeline.kinds.ranking.learner import RankingLearner


def prints_of(columns: dict) -> list[str]:
    """A fingerprint of each row of some columns, ``[B]`` or ``[B, L]``."""
    wide = [np.asarray(v, np.float64).reshape(len(v), -1) for v in columns.values()]
    rows = np.nan_to_num(np.concatenate(wide, axis=1), nan=-1.0)
    return [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in rows]


def watch_rows(batches_seen: list[dict]) -> None:
    """Keep the columns of every batch that a learner gives to training."""
    batches = RankingLearner.batches

    def watched(self, epoch, skip):
        for batch in batches(self, epoch, skip):
            columns = {
                f"{number}/{name}": np.concatenate(
                    [part.numpy() for part in self.strategy.experimental_local_results(v)]
                )
                for number, group in enumerate(batch[:2])
                for name, v in sorted(group.items())
            }
            batches_seen.append(columns)
            yield batch

    RankingLearner.batches = watched


def watch_sent(sent: list[list[int]]) -> None:
    """Note all rows of tables that are handed to an all-reduce."""
    replica = tf.distribute.ReplicaContext
    all_reduce = replica.all_reduce

    def note(values, indices):
        rows, width = values.shape
        sent.append([rows, width, len(np.unique(indices)), int(values[:, -1].sum())])

    def watched(self, op, value, *more, **how):
        for each in tf.nest.flatten(value):
            if isinstance(each, tf.IndexedSlices):
                tf.numpy_function(note, [each.values, each.indices], [])
        return all_reduce(self, op, value, *more, **how)

    replica.all_reduce = watched


def main() -> None:
    """Watch, and run the command line."""
    place, seen, sent = Path(sys.argv[1]), [], []
    watch_rows(seen)
    watch_sent(sent)
    leave = cli.application.leave

    def noting(status: int) -> None:
        rows = [row for columns in seen for row in prints_of(columns)]
        place.write_text(json.dumps({"rows": rows, "sent": sent}), encoding="utf-8")
        leave(status)

    cli.application.leave = noting
    cli.main(sys.argv[2:])


if __name__ == "__main__":
    main()
