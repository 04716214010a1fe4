"""Tables of the stability study."""

import statistics

from benchmarks.pages.form import gain, listed, markdown, share, span

NAMES = {
    "none": "none",
    "norm 0.1": "GC, 0.1",
    "agc 0.01": "AGC per unit, 0.01",
    "agc_tensor 0.01": "AGC per tensor, 0.01",
    "lamb 0.001": "LAMB, 0.001",
    "clippy": "Clippy, (0.5, 0.01)",
    "clippy_unit": "Clippy per unit, (0.1, 0.001)",
}
KERNELS = ["cross_0/dense", *(f"bottom/dense_{i}" for i in range(4))]


def methods(study: dict) -> str:
    """A row a method."""
    heads = ["method", "largest stable rate", "diverged / tried", "best AUC (at rate)"]
    heads += ["progressive AUC", "rates within .01 of its best", "step time"]
    ratios = study["models"]["large_dcn"]["times"]["ratio"]
    rows = []
    for row in study["models"]["large_dcn"]["methods"]:
        stable, name = f"{row['largest_stable']:g}", row["method"]
        if row["largest_stable"] == row["highest_tried"]:
            stable += ", the highest tried"
        rows.append([
            NAMES[name], stable, f"{row['diverged']} / {row['tried']}",
            f"{share(row['best_auc'])} ({row['best_rate']:g})",
            share(statistics.mean(row["progressive"].values())),
            f"x{row['range']:g}", f"{ratios[name]:.2f}",
        ])  # fmt: skip
    return markdown(heads, rows)


def both(quick: dict, confirm: dict) -> str:
    """What Clippy gains, on the days that were studied and on others."""
    heads = ["", "`--quick`: 2 seeds", "`--confirm`: other days, 3 other seeds"]
    found = [quick["headline"], confirm["headline"]]
    rows = [
        ["largest stable rate, Clippy over plain Adagrad"]
        + [f"{one['stable_lr_ratio']:g} times, the highest tried" for one in found],
        ["runs diverged: plain, best baseline, Clippy"]
        + [listed(one["diverged"][name].replace("/", " of ") for name in _three(one))
           for one in found],
        ["factor of rates within .01 of its best AUC: the same"]
        + [listed(f"{one['auc_range_lr'][name]:g}" for name in _three(one))
           for one in found],
        ["AUC over plain Adagrad, each at its best rate"]
        + [gain(one["auc_gain_over_none"]) for one in found],
        ["AUC over the best baseline (lowest to highest of the seeds): the paper's Clippy"]
        + [f"{over_best(one, '')}, {NAMES[one['best_baseline']]}" for one in found],
        ["the same: Clippy per unit"] + [over_best(one, "_unit") for one in found],
        ["step time over plain Adagrad: Clippy, per unit"]
        + [f"{one['step_time_ratio']:.2f}, {one['step_time_ratio_unit']:.2f}"
           for one in found],
    ]  # fmt: skip
    return markdown(heads, rows)


def _three(headline: dict) -> tuple[str, str, str]:
    return "none", headline["best_baseline"], "clippy"


def over_best(headline: dict, mark: str) -> str:
    mean = headline[f"auc_gain_over_best_baseline{mark}"]
    seeds = headline[f"auc_gain_over_best_baseline{mark}_interval"]
    return f"{gain(mean)} ({span(seeds)})"


KINDS = {
    "labels": "labels of one task are 100",
    "inverted": "no and yes exchanged in every task",
    "numbers": "every number 1,000 deviations up",
    "weights": "one row weighs a million times",
    "five": "five batches running as in the first line",
}


def spikes(found: dict) -> str:
    """AUC lost to a bad batch, without a guard and with some; a row a kind of batch."""
    lost = found["result"]["loss"]
    heads = ["a bad batch", *(_guard(name) for name in lost)]
    rows = [
        [
            said,
            *(f"{gain(-each[kind][0])} ({_between(each[kind])})" for each in lost.values()),
        ]
        for kind, said in KINDS.items()
    ]
    rows.append(
        ["steps held back in healthy runs", *map(str, found["result"]["fired"].values())]
    )
    return markdown(heads, rows)


def _guard(name: str) -> str:
    return "no guard" if name == "none" else f"guard {float(name):g}"


def _between(mean_low_high: list) -> str:
    _, low, high = mean_low_high
    return span([-high, -low])


def claims(study: dict) -> str:
    """What was measured for the paper's claims."""
    model = study["models"]["large_dcn"]
    clippy = next(row for row in model["methods"] if row["method"] == "clippy")
    layers = [clippy["clipping"][f"shared_bottom/{name}/kernel"] for name in KERNELS]
    replay = model["replay"]
    factors = [
        f"{name} {share(replay[key]['onset'], 3)}"
        for name, key in (("Clippy", "clippy"), ("GC", "norm"), ("AGC", "agc"))
    ]
    rows = [
        ["3: plain Adagrad at the edge and at twice the edge, diverged / tried",
         listed(f"{name} {one['diverged']} / {one['tried']}"
                for name, one in model["ablations"].items())],
        [f"6: factor in the two steps before the jump, rate {replay['rate']:g}, warm-up",
         listed(factors)],
        [f"7: factor of shared kernels at rate {clippy['best_rate']:g}, from the bottom",
         listed(share(value, 2) for value in layers)],
        ["8: AUC of the other tasks without and with one spurious batch",
         listed(f"{name} {share(one['healthy'], 3)} and {share(one['spoiled'], 3)}"
                for name, one in model["spoiled"].items())],
    ]  # fmt: skip
    return markdown(["claim", "measured"], rows)


def warning(kept: dict) -> str:
    """How long before, and how often for nothing."""
    found = kept["result"]
    rows = [
        ["steps from the warning to the jump, median", f"{found['median_lead_steps']:g}"],
        ["diverging runs, warned before", f"{found['diverging']}, {found['warned']}"],
        ["lost within the first five steps", str(found["at_once"])],
        ["silent deaths, warned", f"{found['silent']}, {found['silent_warned']}"],
        [
            "got through at rates far too high, warned",
            f"{found['survived']}, {found['survived_warned']}",
        ],
        ["healthy runs, warned", f"{found['healthy']}, {found['false_alarms']}"],
        ["false alarms in 20 healthy runs", f"{found['false_alarms_per_20']:.1f}"],
    ]
    return markdown(["", "measured"], rows)
