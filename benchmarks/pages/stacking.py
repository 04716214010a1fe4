"""Tables of the stacking study. "Times less" is a cost from scratch over another's."""

from statistics import mean

from benchmarks.pages.form import NEVER, gain, listed, markdown, share, times

CL = {
    "adjacent": "StackA (adjacent)",
    "cross": "StackC (cross)",
    "unchanged": "unchanged (ours)",
    "random": "StackR (control)",
    "embedding": "StackE (control)",
}
TS = {
    "adjacent": "StackA, twice",
    "adjacent_softmax": "StackA, softmax and LayerNorm copied too",
    "adjacent_all": "StackA, all copied, alphas too",
    "unchanged": "unchanged (ours), twice",
    "converged": "StackA, shallow nets to convergence, seed 1",
}
TF = {"adjacent": "StackA", "unchanged": "unchanged (ours)"}
MRR = "mrr@5"


def _each(values: list[float]) -> str:
    return f"{times(mean(values))} ({listed(map(times, values))})"


def _test(seeds: list[dict], name: str) -> str:
    return share(mean(one["runs"][name]["test"][MRR] for one in seeds), 3)


def _less_scratch(gains: list[float]) -> str:
    return listed(gain(value, 3) for value in gains)


def all_counted(seeds: list[dict], name: str) -> str:
    """Times less with the shallow net's training to its best counted, too."""
    found = []
    for one in seeds:
        shallow, cost = one["runs"]["shallow"], one["costs"][name]["flops"]
        before = shallow["blocks"] * shallow["best_step"]
        found.append(one["costs"]["scratch"]["flops"] / (before + cost) if cost else 0.0)
    return times(mean(found))


def continual(part: dict) -> str:
    """CL: a row a way to grow."""
    (kind, seeds), last = kind_of(part), part["headline"]
    rows = [["from scratch", "1", "1", "1", _test(seeds, "scratch"), ""]]
    for name, label in CL.items():
        rows.append([
            label, _each(last[f"cl_speedup_{kind}_{name}"]),
            times(mean(last[f"cl_seconds_speedup_{kind}_{name}"])),
            all_counted(seeds, name), _test(seeds, name),
            _less_scratch(last[f"cl_test_mrr_gain_{kind}_{name}"]),
        ])  # fmt: skip
    rows.append(_not_grown(seeds))
    heads = ["start of the deep net", "times less blocks x steps (each seed)"]
    heads += ["times less seconds", "times less, shallow training counted"]
    return markdown([*heads, "test MRR@5, mean", "less scratch, each seed"], rows)


def kind_of(part: dict) -> tuple[str, list[dict]]:
    return next((k, seeds) for k, seeds in part.items() if isinstance(seeds, list))


def _not_grown(seeds: list[dict]) -> list[str]:
    flops, seconds = (
        [_ratio(one["costs"], unit) for one in seeds] for unit in ("flops", "seconds")
    )
    gains = [one["runs"]["shallow"]["test"][MRR] - one["runs"]["scratch"]["test"][MRR]
             for one in seeds]  # fmt: skip
    label = "the shallow net, on 80 %, not grown"
    return [label, _each(flops), times(mean(seconds)), "", _test(seeds, "shallow"),
            _less_scratch(gains)]  # fmt: skip


def _ratio(costs: dict, unit: str) -> float:
    """Times less of the shallow net itself; 0 where it did not get there."""
    own = costs["shallow"][unit]
    return costs["scratch"][unit] / own if own else 0.0


def movielens(part: dict) -> str:
    """The same on MovieLens-small, one seed."""
    (kind, seeds), last = kind_of(part), part["headline"]
    rows = [["from scratch", "1", _test(seeds, "scratch")]]
    for name, label in CL.items():
        less = times(mean(last[f"movielens_speedup_{kind}_{name}"]))
        rows.append([label, less, _test(seeds, name)])
    return markdown(["start", "times less blocks x steps", "test MRR@5"], rows)


def stages(part: dict) -> str:
    """TS: a row a way to grow."""
    (kind, seeds), last = kind_of(part), part["headline"]
    rows = [
        [
            "from scratch",
            "1",
            "1",
            share(mean(one["scratch"]["runs"][-1]["test"][MRR] for one in seeds), 3),
            "",
        ]
    ]
    for name, label in TS.items():
        ends = [one[name]["runs"][-1]["test"][MRR] for one in seeds if name in one]
        flops, seconds = (last[f"ts_{unit}_{kind}_{name}"]
                          for unit in ("speedup", "seconds_speedup"))  # fmt: skip
        each = f"{times(mean(flops))} ({listed(times(value) for value in flops)})"
        rows.append([label, each, times(mean(seconds)), share(mean(ends), 3),
                     _less_scratch(last[f"ts_test_mrr_gain_{kind}_{name}"])])  # fmt: skip
    heads = ["", "times less blocks x steps (each seed)", "times less seconds"]
    return markdown([*heads, "test MRR@5, mean", "less scratch, each seed"], rows)


def lengths(part: dict) -> str:
    """How long the shallow stages of TS are, by the cost of each choice at seed 0."""
    rows = [["from scratch", "", f"{part['scratch']:,}"]]
    for name in ("0.125", "0.250", "0.333"):
        found = part[name]
        steps = listed(f"{n} at {blocks}" for blocks, n in found["stages"] if n)
        cost = f"{found['flops']:,.0f}" if found["flops"] else NEVER
        rows.append([name, steps, cost])
    return markdown(
        [
            "shallow stages, of the steps to convergence",
            "steps at blocks",
            "blocks x steps to the target",
        ],
        rows,
    )


def transfer(part: dict) -> str:
    """TF: a row a way to pre-train."""
    (kind, seeds), last = kind_of(part), part["headline"]

    def target(name):
        return share(mean(one["target"][name]["test"][MRR] for one in seeds), 3)

    rows = [["4 blocks from scratch, to convergence", "1", "1", "1", target("scratch"), ""]]
    for name, label in TF.items():
        rows.append([
            label, _each(last[f"tf_speedup_{kind}_{name}"]),
            all_counted(seeds, name),
            times(mean(last[f"tf_seconds_speedup_{kind}_{name}"])), target(name),
            _less_scratch(last[f"tf_target_test_mrr_gain_{kind}_{name}"]),
        ])  # fmt: skip
    gains = last[f"tf_target_test_mrr_gain_{kind}_none"]
    rows.append(["none", "", "", "", target("none"), _less_scratch(gains)])
    heads = ["pre-training", "times less blocks x steps (each seed)"]
    heads += ["times less, shallow training counted", "times less seconds"]
    return markdown([*heads, "target test MRR@5", "less scratch, each seed"], rows)


def similarity(*parts: dict) -> str:
    """Cosine of the outputs of adjacent blocks, the first seed."""
    rows = []
    for part in parts:
        kind, seeds = kind_of(part)
        data = "MovieLens-small" if "best" not in part else "planted sequences"
        cosines = listed(share(value, 2) for value in seeds[0]["similarities"])
        rows.append([f"{kind}, {data}", cosines])
    return markdown(["4 blocks from scratch", "cosine of adjacent blocks' outputs"], rows)


def depth(part: dict) -> str:
    """Test MRR@5 by depth and share of the data."""
    rows = [
        [str(blocks), *(share(part[f"{blocks} blocks, {some}%"], 3) for some in (20, 100))]
        for blocks in (1, 2, 4)
    ]
    return markdown(["blocks", "20 % of the sequences", "100 %"], rows)


def layers64(part: dict) -> str:
    """32 blocks with and without alpha."""
    rows = []
    for name in ("with alpha", "alpha fixed at 1"):
        run = part[name]
        curve = dict(map(tuple, run["curve"]))
        losses = f"{run['losses'][0]:.2f}, {run['losses'][-1]:.2f}"
        seen = listed(share(curve[step], 3) for step in (150, 300, 450, 600))
        rows.append([name, losses, seen, share(run["test"][MRR], 3)])
    heads = [
        "",
        "loss, first and last 50 steps",
        "validation MRR@5 after 150, 300, 450, 600",
    ]
    return markdown([*heads, "test MRR@5"], rows)


def overview(cl: dict, ts: dict, tf: dict) -> str:
    """What our growth and StackRec's save."""
    counted = [all_counted(kind_of(part)[1], "unchanged") for part in (cl, tf)]
    rows = [
        ["CL: more data, then deeper", *_pair(cl["headline"], "cl"), counted[0]],
        [
            "TF: the same, then tuned on another domain",
            *_pair(tf["headline"], "tf"),
            counted[1],
        ],
        [
            "TS: from scratch in stages, all training counted",
            *_pair(ts["headline"], "ts"),
            "",
        ],
    ]
    heads = [
        "times less blocks x steps",
        "ours, which changes no score",
        "StackRec's adjacent",
    ]
    return markdown([*heads, "ours, shallow training counted"], rows)


def _pair(last: dict, part: str) -> list[str]:
    return [times(last[f"{part}_speedup"]), times(last[f"{part}_speedup_adjacent"])]
