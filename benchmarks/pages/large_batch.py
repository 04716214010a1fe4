"""Tables of the large-batch studies: drops of test AUC as the batch grows."""

from benchmarks.pages.form import gain, listed, markdown, percent, share, span, student

RULES = {  # embedding rate, L2 and dense rate at s times the batch
    "none": "1, 1, 1",
    "sqrt": "√s, √s, √s",
    "linear": "s, 1, s",
    "n2_lambda": "1, s², √s",
    "cowclip": "1, s, √s",
    "sde": "√s, 1, √s; both betas to the power s",
    "momentum": "√s, 1, s; `beta_2` to the power s",
}
BASE, QUICK, KUAIRAND = 1024, 16384, 8192


def _size(batch_size: int) -> str:
    return f"{batch_size // 1024} K"


def _base(study: dict) -> float:
    return study["runs"][0]["test"]  # the first run is of the base batch


def _drop(run: dict, base: float) -> str:
    return gain(run["test"] - base)


def rules(study: dict) -> str:
    """Every recipe at one larger batch, the best first."""
    base, first = _base(study), study["runs"][0]
    runs = [run for run in study["runs"][1:] if run["batch_size"] not in (BASE, KUAIRAND)]
    rows = [[_size(BASE), "", "", share(base), "", percent(first["clipped"], 1)]]
    for run in sorted(runs, key=lambda run: -run["test"]):
        recipe = run["recipe"]
        clipped = percent(run["clipped"], 1) if run["clipped"] else ""
        rows.append([_size(run["batch_size"]), recipe["name"], RULES[recipe["rule"]],
                     share(run["test"]), _drop(run, base), clipped])  # fmt: skip
    heads = ["batch", "rule", "embedding rate, L2, dense rate", "test AUC", "less 1 K's"]
    return markdown([*heads, "rows clipped"], rows)


def kuairand(study: dict) -> str:
    """KuaiRand's is_click at 8 K."""
    rows = [["1 K", share(study["kuairand_auc_base"]), ""]]
    drops = sorted(study["kuairand_drop_8x"].items(), key=lambda item: item[1])
    for name, drop in drops:
        auc = study["kuairand_auc_base"] - drop
        rows.append([f"8 K, {name}", share(auc), gain(-drop)])
    return markdown(["KuaiRand, is_click", "test AUC", "less 1 K's"], rows)


def seeds(study: dict) -> str:
    """1 K and 64 K, seed by seed, and the mean difference."""
    pairs = {}
    for run in study["runs"]:
        pairs.setdefault(run["seed"], {})[run["batch_size"]] = run
    rows, gains = [], []
    for seed, pair in sorted(pairs.items()):
        small, large = (pair[size] for size in sorted(pair))
        gains.append(large["test"] - small["test"])
        rows.append(
            [f"seed {seed}", _with_epochs(small), _with_epochs(large), gain(gains[-1])]
        )
    mean, low, high = student(gains)
    by_size = [[p[size]["test"] for p in pairs.values()] for size in sorted(pair)]
    means = [share(sum(tests) / len(tests)) for tests in by_size]
    rows.append(["mean (95 % interval)", *means, f"{gain(mean)} ({span((low, high))})"])
    heads = [
        "test AUC (validation after each epoch)",
        *(_size(size) for size in sorted(pair)),
    ]
    return markdown([*heads, "difference"], rows)


def _with_epochs(run: dict) -> str:
    return f"{share(run['test'])} ({listed(map(share, run['validation']))})"


def single(*studies: dict) -> str:
    """One run each beside its own 1 K, of several studies."""
    rows = []
    for study in studies:
        for run in study["runs"][1:]:
            name = f"{_size(run['batch_size'])}, {run['recipe']['name']}"
            drop = _drop(run, _base(study))
            rows.append([name, _with_epochs(run), share(_base(study)), drop])
    heads = ["", "test AUC (validation after each epoch)", "1 K", "difference"]
    return markdown(heads, rows)


TRUNKS = {"deepfm": "DeepFM", "wide_deep": "Wide & Deep", "dcn": "DCN", "dcn_v2": "DCN-v2"}
COMPARED = ("momentum", "sde", "sqrt", "cowclip")


def trunks(*studies: dict) -> str:
    """Test AUC of four rules at 16 K, a row a trunk."""
    rows = []
    for study in studies:
        runs = {run["recipe"]["name"]: run["test"] for run in study["runs"]
                if run["batch_size"] == QUICK}  # fmt: skip
        name = TRUNKS[study["runs"][0]["trunk"]]
        rows.append([name, share(_base(study)), *(share(runs[rule]) for rule in COMPARED)])
    return markdown(["test AUC", "1 K", *(f"16 K, {rule}" for rule in COMPARED)], rows)


def clip(study: dict) -> str:
    """What the clip adds, by optimizer, L2 and rate of the tables."""
    rows = []
    for name, worth in study["clip_worth"].items():
        optimizer, _, l2, _, rate = name.split()
        cells = [
            f"{gain(worth[kind])} ({percent(study['clipped_fraction'][f'{name}: {kind}'])})"
            for kind in ("clip", "summed")
        ]
        rows.append(
            [
                optimizer,
                "tuned" if l2 == "1" else "none",
                "tuned" if rate == "1" else f"x {rate}",
                share(worth["off"]),
                *cells,
            ]
        )
    heads = ["optimizer of the tables", "L2", "rate", "off", "clip, less off"]  # fmt: skip
    return markdown([*heads, "summed, less off"], rows)


CLIPPED = {
    "global": "all ids of the batch together, by their norm",
    "field": "all ids of a field together",
    "id, adaptive": "each id, by its count and its norm: CowClip",
    "id, constant": "each id, by its count alone",
    "off": "nothing",
}


def ablation(study: dict) -> str:
    """What is clipped together, the best bound of each."""
    rows = []
    for name in study["order"]:
        one = study["ablation"][name]
        bound = "" if name == "off" else f"{one['bound']:g}"
        clipped = "" if name == "off" else percent(one["clipped"])
        rows.append([CLIPPED[name], bound, share(one["test"]), clipped])
    return markdown(["clipped is", "bound x", "test AUC", "rows clipped"], rows)


def counts(study: dict) -> str:
    """What CowClip counts: samples or readings, as shipped and where a bound binds."""
    study = study["result"]
    both = ("difference", "interval"), ("difference_tight", "interval_tight")
    rows = []
    for bound, keys in zip(("as shipped", "a bound that binds"), both, strict=True):
        less, around = (study[key] for key in keys)
        for count in ("samples", "readings", "off"):
            name = f"{count}, {bound}"
            ours = count == "samples"
            rows.append(
                [
                    f"{bound}: {count}",
                    share(study["auc"][name]),
                    f"{gain(less, 5)} ({span(around, 5)})" if ours else "",
                    percent(study["clipped"][name], 1) if count != "off" else "",
                ]
            )
    ratios = listed(
        f"{ratio:.2f} times at {_size(int(size))}"
        for size, ratio in study["step_ratio"].items()
    )
    heads = [
        "what is counted",
        "test AUC",
        "less readings' (95 % interval)",
        "rows clipped",
    ]
    said = (
        f"An id has up to {study['times']} readings in a sample, "
        f"{study['mean_times']:.1f} in the mean of its lists. A step that counts samples "
        f"takes {ratios} as long as one that counts readings."
    )
    return f"{markdown(heads, rows)}\n{said}\n"
