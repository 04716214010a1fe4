"""StackRec: what it saves to grow a sequence model instead of training a deep one.

    python -m benchmarks.stacking [--quick] [--only cl] [--kind nextitnet] [--resume]

Sequences with planted structure of known reach and known best MRR (``planted_sequences``),
and MovieLens-small (``--only movielens``).  Parts, the first three after the article's
scenarios (``stacking_scenarios``):

- ``cl``: a shallow net to convergence on 80 % of the data, grown, then trained on all;
- ``ts``: a shallow net for a few steps, grown, twice, all on all data; also with the
  shallow nets trained to convergence;
- ``tf``: ``cl`` on a source domain, then all tuned with a new softmax on a target domain;
- ``depth``: depths against amounts of data, from scratch;
- ``layers64``: 64 convolution layers with alpha and without;
- ``stages``: how long the shallow stages of ``ts`` should be, on validation, seed 0.

Parts have processes of their own, one thread each, side by side on as many cores as there
are.  Each goes to a file of its own, ``benchmarks/results/stacking_<part>.json``
(``_quick``).  ``--resume`` takes up a study that was interrupted.  The seconds of a run
are the processor's.  ``--quick``: NextItNet of 1 to 4 blocks on short sequences, without
``movielens`` and ``stages``.  The last line is a JSON object; see ``stacking_figures``.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import tensorflow as tf

from benchmarks.multitask import rounded
from benchmarks.multitask_ledger import Ledger
from benchmarks.parts import run_parts
from benchmarks.stacking_figures import headline
from benchmarks.stacking_parts import PARTS, QUICK_PARTS
from steadyrank.pipeline.files.publish import read_json, write_json

ROOT = Path(__file__).resolve().parent.parent
DATA = "STEADYRANK_DATA"
KINDS = ("nextitnet", "sasrec")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    beside = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser = argparse.ArgumentParser(
        "benchmarks.stacking", description="Growing sequence models by stacking."
    )
    parser.add_argument("--quick", action="store_true", help="few items, 1 to 4 blocks")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeatable")
    parser.add_argument("--kind", choices=KINDS, action="append", help="of cl and ts")
    parser.add_argument("--resume", action="store_true", help="keep runs done before")
    parser.add_argument("--blocks", type=int, help="of CL's shallow net; 2, or 8 in full")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, default=Path(beside))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    options.only = options.only or (QUICK_PARTS if options.quick else tuple(PARTS))
    options.kind = options.kind or (KINDS[:1] if options.quick else KINDS)
    return options


def run_part(part: str, options: argparse.Namespace) -> dict:
    """One part's results, in this process."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    ledger = Ledger(options.results / f"stacking_runs_{part}.json", options.resume)
    found = PARTS[part](options, ledger)
    content = {"headline": headline({part: found}), **found}
    write_json(results_of(part, options), rounded(content))
    return found


def side_by_side(parts: Iterable[str], options: argparse.Namespace) -> dict:
    """Several parts' results, each from a process of its own.

    Raises:
        subprocess.CalledProcessError: A part failed; what it printed says why.
    """
    command = [sys.executable, "-m", "benchmarks.stacking"]
    command += ["--data", options.data, "--results", options.results]
    command += ["--seeds", *options.seeds]
    command += [word for kind in options.kind for word in ("--kind", kind)]
    command += ["--blocks", options.blocks] if options.blocks else []
    command += [f"--{key}" for key in ("quick", "resume") if getattr(options, key)]
    run_parts(command, parts)
    return {part: read_json(results_of(part, options), "a study") for part in parts}


def results_of(part: str, options: argparse.Namespace) -> Path:
    size = "_quick" if options.quick else ""
    return (
        options.results / f"stacking_{part}{'_'.join(['', *special(options)])}{size}.json"
    )


def special(options: argparse.Namespace) -> list[str]:
    """What sets a study apart from the usual one of its size, for the names of files."""
    usual = KINDS[:1] if options.quick else KINDS
    kinds = [] if tuple(options.kind) == usual else options.kind
    return [*kinds, *([f"{options.blocks}_blocks"] if options.blocks else [])]


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    options, began = parse(arguments), time.monotonic()
    options.results.mkdir(parents=True, exist_ok=True)
    if len(options.only) == 1:
        found = {options.only[0]: run_part(options.only[0], options)}
    else:
        found = side_by_side(options.only, options)
    print(json.dumps(rounded({**headline(found), "seconds": time.monotonic() - began})))


if __name__ == "__main__":
    main()
