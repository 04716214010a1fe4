"""One training over several processes: the weights of one, each row once, what travels.

    python -m benchmarks.workers [--quick]

Processes of this machine, over its loopback, as ``TF_CONFIG`` names them; each has one
thread.  Measured are:

- **Weights.** ``RANKING``: a PLE model with Clippy, CowClip, lazy L2, the guard against
  spikes, tasks in sample spaces of their own, and a last batch that the workers cannot
  share out evenly; ``NEXT_ITEM``: two phases, of which the second grows.  Trained by 1, 2
  and 4 processes.  ``weights_max_difference`` is the largest of any number of the last
  checkpoints, optimizers' too, between one process and several.
- **Rows.** ``rows_read_once``: over all epochs the workers trained on the very rows that
  one process trained on, each as often.
- **Traffic.** ``bytes_over_unique_rows``: bytes of table rows that a worker hands to an
  all-reduce, padded to the longest worker's, over those of each of its ids once;
  ``readings_over_unique_rows``: what it was while every reading of an id was sent.
- **Kills.** One of two workers is killed, stopped for good (as one that hangs) or told to
  end, in turn the chief and the other; all others must end within ``SECONDS`` with status
  75, and ``--resume`` of all goes on.  ``resumed_equal``: the last checkpoint is that of
  an undisturbed training by two, to the bit.
- **Steps a second**, of processes that share this machine's cores.

The last line is a JSON object.  Exit status 1: a promise is broken.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)
from benchmarks.kills import steps_of
from benchmarks.log import CONFIG
from benchmarks.parts import ONE_THREAD, ROOT
from benchmarks.same_results import same_tensors
from steadyrank.pipeline.config import read_document

# isort: split
import numpy as np
import tensorflow as tf

COUNTS = (1, 2, 4)
SECONDS = 60  # in which all must have ended after one was lost
LIMITS = {"weights_max_difference": 1e-6, "bytes_over_unique_rows": 1.1}
PASSING = 75
TASKS = ("is_click", "long_view", "watch_time_ms")  # of the demo's, and features
FEATURES = ("user_id", "item_id", "tags", "country", "item_duration_ms", "idle_seconds")
RANKING = {
    "epochs": 2,
    "batch_size": 509,
    "spike_guard": 3.0,
    "dense": {"optimizer": "adagrad", "clip": "clippy", "learning_rate": 0.2},
    "embedding": {
        "optimizer": "adam",
        "clip": "cowclip",
        "learning_rate": 2e-3,
        "l2": 1e-5,
        "semantics": "lazy",
    },
}
NEXT_ITEM = {
    "data": {
        "input": ["log.parquet"],
        "sequences": {
            "user": "user_id",
            "item": "item_id",
            "time": "time_ms",
            "length": 8,
            "min_length": 3,
            "min_count": 2,
        },
        "split": "leave_last_out",
    },
    "model": {"kind": "next_item", "dim": 16},
    "train": {
        "batch_size": 250,
        "spike_guard": 3.0,
        "dense": {"optimizer": "adam", "learning_rate": 1e-3, "clip": "clippy"},
        "embedding": {"learning_rate": 1e-3},
        "phases": [
            {"blocks": 1, "steps": 12},
            {"blocks": 2, "grow": "unchanged", "steps": 12},
        ],
    },
}
KILLS = (  # signal, and whom it meets of two
    (signal.SIGKILL, 1),
    (signal.SIGKILL, 0),
    (signal.SIGSTOP, 1),
    (signal.SIGSTOP, 0),
    (signal.SIGTERM, 1),
)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(count: int, words: list, log: Path, seen: Path | None = None) -> list:
    """Start the workers of a training; what they say goes to ``<log>.<number>``.

    Args:
        count: How many.
        words: Of the command line, behind ``steadyrank``.
        log: Where to.
        seen: What they note, too, in ``<seen>.<number>``; None: nothing.
    """
    addresses, processes = [f"127.0.0.1:{port}" for port in free_ports(count)], []
    for index in range(count):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        module = ["steadyrank"] if seen is None else ["benchmarks.workers_seen"]
        module += [] if seen is None else [f"{seen}.{index}"]
        with open(f"{log}.{index}", "w", encoding="utf-8") as said:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", *module, *map(str, words)],
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    cwd=ROOT,
                    env={**os.environ, **ONE_THREAD, "TF_CONFIG": config},
                )
            )
    return processes


def finish(processes: list, log: Path) -> None:
    """Wait for workers that must end well.

    Raises:
        SystemExit: One did not; what it said is shown.
    """
    statuses = [process.wait() for process in processes]
    for index, status in enumerate(statuses):
        if status:
            print(Path(f"{log}.{index}").read_text(encoding="utf-8")[-2000:])
    if any(statuses):
        raise SystemExit(f"workers ended with statuses {statuses}")


def checkpoint_of(trained: Path) -> str:
    """The newest checkpoint of a training, of its last phase if it has any."""
    folders = sorted(trained.glob("phases/*/checkpoints")) or [trained / "checkpoints"]
    return tf.train.latest_checkpoint(folders[-1])


def difference(one: Path, other: Path) -> tuple[float, int]:
    """The largest of two trainings' last checkpoints, and the tensors compared."""
    first, second = (tf.train.load_checkpoint(checkpoint_of(p)) for p in (one, other))
    names = {n for n in first.get_variable_to_shape_map() if "OBJECT_GRAPH" not in n}
    if names != {n for n in second.get_variable_to_shape_map() if "OBJECT_GRAPH" not in n}:
        raise SystemExit(f"{one} and {other} do not hold the same tensors")
    largest = 0.0
    for name in names:
        a, b = (np.asarray(r.get_tensor(name), np.float64) for r in (first, second))
        largest = max([largest, *np.abs(a - b)[a != b].reshape(-1)])
    return largest, len(names)


def rate_of(trained: Path) -> float:
    """Steps a second, by the log; the first look, at which functions are traced, is left
    out, and so are evaluations."""
    text = (trained / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    looks = sorted({line["seconds"] for line in lines if "loss" in line})
    steps = [sum(line.get("seconds") == at for line in lines) for at in looks]
    gaps = [(b - a, n) for a, b, n in zip(looks, looks[1:], steps[1:], strict=False)]
    return max((n / gap for gap, n in gaps), default=0.0)


def ranking() -> dict:
    """A part of the demo's config: less to trace."""
    document = read_document(CONFIG)
    for section, names in (("tasks", TASKS), ("features", FEATURES)):
        document[section] = [each for each in document[section] if each["name"] in names]
    document["score"] = "is_click * long_view"
    document["train"], document["gates"] = RANKING, {}
    return document


class Study:
    """The parts of the benchmark, on examples in a folder.

    Args:
        folder: To work in.
        rows: Of the synthetic log.
    """

    def __init__(self, folder: Path, rows: int):
        self.folder, self.result = folder, {"rows": rows, "processes": list(COUNTS)}
        log = folder / "log"
        self.alone("synthesize", "--rows", rows, "--output", log)
        for kind, document in {"ranking": ranking(), "next_item": NEXT_ITEM}.items():
            text = yaml.safe_dump(document)
            (folder / f"{kind}.yaml").write_text(text, encoding="utf-8")
            given = ["--config", folder / f"{kind}.yaml", "--data", log]
            made = folder / f"{kind}.examples"
            self.alone("preprocess", *given, "--output", made)

    def alone(self, *words) -> None:
        """A command in a process of its own."""
        command = [sys.executable, "-m", "steadyrank", *map(str, words)]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)

    def words(self, kind: str, output: Path, *more) -> list:
        """The command line of a training."""
        config, made = (self.folder / f"{kind}.{end}" for end in ("yaml", "examples"))
        given = ["--config", config, "--examples", made, "--output", output]
        return ["train", *given, *more]

    def trained(self, kind: str, count: int) -> Path:
        """A training by so many."""
        output = self.folder / f"{kind}-by-{count}"
        log, notes = (output.with_suffix(end) for end in (".said", ".notes"))
        processes = start(count, self.words(kind, output), log, notes)
        finish(processes, log)
        print(f"{kind}: {count} processes", flush=True)
        return output

    def weights(self) -> None:
        """Whether several train to the weights of one."""
        found = {}
        for kind in ("ranking", "next_item"):
            outputs = {count: self.trained(kind, count) for count in COUNTS}
            for count in COUNTS[1:]:
                largest, tensors = difference(outputs[1], outputs[count])
                found[f"{kind} by {count}"] = {"largest": largest, "tensors": tensors}
            if kind == "ranking":
                self.result["steps_per_s"] = {
                    str(count): round(rate_of(outputs[count]), 2) for count in COUNTS
                }
        self.result["weights"] = found
        largest = max(each["largest"] for each in found.values())
        self.result["weights_max_difference"] = largest

    def rows_and_traffic(self) -> None:
        """Which rows were read, and what was sent of the tables."""
        noted = {}
        for count in COUNTS:
            files = [self.folder / f"ranking-by-{count}.notes.{n}" for n in range(count)]
            noted[count] = [json.loads(file.read_text("utf-8")) for file in files]
        alone = sorted(noted[1][0]["rows"])
        self.result["rows_trained_on"] = len(alone)
        self.result["rows_read_once"] = all(
            sorted(row for worker in noted[count] for row in worker["rows"]) == alone
            for count in COUNTS
        )
        ratios = {count: traffic(noted[count]) for count in COUNTS[1:]}
        self.result["traffic"] = {str(count): ratio for count, ratio in ratios.items()}
        for name in ("bytes_over_unique_rows", "readings_over_unique_rows"):
            self.result[name] = max(ratio[name] for ratio in ratios.values())

    def kills(self, kills) -> None:
        """Whether all end when one does, and what becomes of the training then."""
        every = ("--set", "train.checkpoint_every=7", "--set", "train.epochs=8")
        whole, output = self.folder / "whole", self.folder / "killed"
        log = self.folder / "whole.said"
        finish(start(2, self.words("ranking", whole, *every), log), log)
        table = []
        for number, (what, victim) in enumerate(kills):
            more = (*every, *["--resume"] * bool(number))
            table.append(self._kill(self.words("ranking", output, *more), what, victim))
            print(f"kill: {table[-1]}", flush=True)
        log = self.folder / "resumed.said"
        finish(start(2, self.words("ranking", output, *every, "--resume"), log), log)
        self.result["kills"], self.result["kills_table"] = len(table), table
        self.result["kills_survived"] = sum(row["survived"] for row in table)
        unlike = same_tensors(Path(checkpoint_of(whole)), Path(checkpoint_of(output)))
        # a SIGTERM takes a checkpoint more
        self.result["resumed_equal"] = not [n for n in unlike if "save_counter" not in n]

    def _kill(self, words: list, what: signal.Signals, victim: int) -> dict:
        output, log = self.folder / "killed", self.folder / "killed.said"
        before = steps_of(output)
        processes = start(2, words, log)
        other = processes[1 - victim]
        while steps_of(output) < before + 20 and other.poll() is None:
            time.sleep(0.05)
        processes[victim].send_signal(what)
        begun = time.monotonic()
        try:
            status = other.wait(2 * SECONDS)
        except subprocess.TimeoutExpired:
            other.kill()
            status = other.wait()
        seconds = round(time.monotonic() - begun, 1)
        if what != signal.SIGTERM:
            processes[victim].kill()
        statuses = [status, processes[victim].wait()]
        ended = seconds <= SECONDS and status == PASSING
        if what == signal.SIGTERM:
            ended &= statuses[1] == PASSING
        row = {"signal": what.name, "worker": victim, "seconds": seconds}
        return {**row, "status_of_the_other": status, "survived": ended}


def traffic(workers: list[dict]) -> dict:
    """Bytes and readings over unique rows, of all steps of all workers.

    Args:
        workers: What each noted.
    """
    sent, needed, readings, unique = 0, 0, 0, 0
    for step in zip(*(worker["sent"] for worker in workers), strict=True):
        width = step[0][1]
        sent += max(rows for rows, *_ in step) * len(step) * (width + 1)
        needed += sum(ids for _, _, ids, _ in step) * width  # an id, and a number less
        unique += sum(ids for _, _, ids, _ in step)
        readings += sum(count for *_, count in step)
    return {
        "bytes_over_unique_rows": round(sent / needed, 4),
        "readings_over_unique_rows": round(readings / unique, 2),
    }


def kept_promises(result: dict) -> bool:
    """Whether all that is promised was found."""
    small = all(result[name] <= limit for name, limit in LIMITS.items())
    lived = result["kills_survived"] == result["kills"]
    return small and lived and result["rows_read_once"] and result["resumed_equal"]


def main(arguments: list[str] | None = None) -> None:
    """Train, compare, kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small log")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        study = Study(Path(scratch), 15_000 if options.quick else 200_000)
        study.weights()
        study.rows_and_traffic()
        study.kills(KILLS)
    print(json.dumps(study.result))
    sys.exit(not kept_promises(study.result))


if __name__ == "__main__":
    main()
