"""The dozen figures of the README."""

from statistics import mean

from benchmarks.pages.form import gain, markdown, share, span, student, times
from benchmarks.pages.stability import over_best
from benchmarks.pages.stacking import all_counted, kind_of

SMALL, LARGE = 1024, 65536


def headlines(
    quick: dict,
    confirm: dict,
    kuairand: dict,
    census: dict,
    history: dict,
    batch: dict,
    growth: dict,
) -> str:
    """A row or three a study."""
    both = quick["headline"], confirm["headline"]
    ple = [_interval(log["models"]["ple"]["mean_gain"]) for log in (kuairand, census)]
    known = history["rankers"]["mean"]["test"]["over_none"]["is_click"]
    saved = times(growth["headline"]["cl_speedup"])
    saved_in_all = all_counted(kind_of(growth)[1], "unchanged")
    rows = [
        [
            "[stability](docs/measured/stability.md), KuaiRand: largest stable learning "
            "rate, Clippy over plain Adagrad",
            f"{both[0]['stable_lr_ratio']:g} times, the highest tried",
        ],
        [
            "… AUC at the best rate of each: the paper's Clippy less the best tuned "
            "baseline, on the days studied and on others (lowest to highest of the seeds)",
            " and ".join(over_best(one, "") for one in both),
        ],
        [
            "… the same of Clippy with one factor per output unit",
            " and ".join(over_best(one, "_unit") for one in both),
        ],
        [
            "[multitask](docs/measured/multitask.md): mean test AUC, PLE of one level less "
            "single-task models, on KuaiRand and on Census-Income (95 % interval)",
            " and ".join(ple),
        ],
        [
            "[histories](docs/measured/histories.md): test AUC of is_click with what the "
            "user did before, less without (95 % interval)",
            _interval(known),
        ],
        [
            "[large batches](docs/measured/large-batches.md): test AUC at a batch of 64 K "
            "less that at 1 K, synthetic rows (95 % interval)",
            _large_batch(batch),
        ],
        [
            "[stacking](docs/measured/stacking.md), synthetic sequences: cost of 4 blocks "
            "from scratch over that of 4 blocks grown from 2",
            f"{saved} times after the growth, {saved_in_all} with all training counted",
        ],
    ]
    return markdown(["", "measured"], rows)


def _interval(one: dict) -> str:
    return f"{gain(one['mean'])} ({span(one['interval'])})"


def _large_batch(study: dict) -> str:
    tests = [
        [run["test"] for run in study["runs"] if run["batch_size"] == size]
        for size in (SMALL, LARGE)
    ]
    less, *bounds = student([b - a for a, b in zip(*tests, strict=True)])
    of_small, of_large = (share(mean(one)) for one in tests)
    return f"{of_large} less {of_small}: {gain(less)} ({span(bounds)})"
