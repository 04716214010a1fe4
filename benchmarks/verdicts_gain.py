"""How often a gain gate passes, or refuses, a model whose true gain is its limit.

Two models see the same truth through noise of their own, so that their true gain is 0,
which is the limit: a pass is one too many there, and a refusal as well.  Either may come
up in 5 % of logs, at a confidence of 95 %.  The served score is the prediction.  Two
next-item models rank the right item at places of the same distribution, half of them
alike.  NumPy alone.
"""

import numpy as np

from steadyrank.models.features import Task
from steadyrank.pipeline.gates.task_gates import METRICS, metric_gate, metric_gates
from steadyrank.pipeline.kinds.next_item.gates import TASK as NEXT
from steadyrank.pipeline.kinds.next_item.scored import summarise
from steadyrank.pipeline.metrics.tasks import measure
from steadyrank.pipeline.metrics.uncertainty import add_scatter

SIZES, SIMULATIONS, REPETITIONS = (500, 2000, 8000), 200, 100
ROWS_OF_A_USER, SEQUENCES_OF_A_USER = 20, 2
NOMINAL = 0.05
TASK = Task("click")
RANKED = ("mrr@5", "hr@5", "ndcg@5", "mrr@20", "hr@20", "ndcg@20")


def gain_rates(sizes=SIZES, simulations: int = SIMULATIONS) -> list[dict]:
    """Of each size and metric, the shares of logs that came to each verdict."""
    found = []
    for rows in sizes:
        verdicts = [_verdicts(rows, seed) for seed in range(simulations)]
        for name in (*METRICS, *RANKED):
            of_name = [each[name] for each in verdicts]
            share = {v: of_name.count(v) / simulations for v in ("PASS", "REFUSE", "HOLD")}
            found.append(
                {
                    "rows": rows,
                    "metric": name,
                    "simulations": simulations,
                    "nominal": NOMINAL,
                    "false_bless": share["PASS"],
                    "false_block": share["REFUSE"],
                    "held": share["HOLD"],
                }
            )
    return found


def _verdicts(rows: int, seed: int) -> dict[str, str]:
    """Metric -> verdict of its gain gate on one simulated log."""
    random = np.random.default_rng([rows, seed])
    groups = random.integers(0, rows // ROWS_OF_A_USER, rows)
    users = random.normal(0, 0.5, rows // ROWS_OF_A_USER)
    truth = users[groups] + random.normal(-1, 1, rows)
    labels = (random.random(rows) < _sigmoid(truth)).astype(float)
    ours, theirs = (
        dict.fromkeys((TASK.name, "score"), _seen(truth, random)) for _ in range(2)
    )
    labels, masks = {TASK.name: labels}, {TASK.name: np.ones(rows)}
    results, base = (
        measure(
            [TASK],
            labels,
            masks,
            outputs,
            groups=groups,
            score=outputs["score"],
            curves=False,
        )
        for outputs in (ours, theirs)
    )
    columns = {"labels": labels, "masks": masks, "outputs": ours, "groups": groups}
    add_scatter(
        results, [TASK], columns, theirs, baseline_results=base, repetitions=REPETITIONS
    )
    gates = {name: {TASK.name: {"min_gain": 0.0}} for name in METRICS}
    metrics = {"tasks": results, "baseline": {"tasks": base}}
    return {g["gate"]: g["verdict"] for g in metric_gates(metrics, gates)} | _ranked(
        rows, random
    )


def _seen(truth: np.ndarray, random) -> np.ndarray:
    return _sigmoid(0.8 * truth + random.normal(-0.2, 0.5, len(truth)))


def _ranked(rows: int, random) -> dict[str, str]:
    """The same of two next-item models, by their ranks."""
    users = random.integers(0, rows // SEQUENCES_OF_A_USER, rows)
    skill = random.uniform(0.02, 0.2, rows // SEQUENCES_OF_A_USER)[users]
    both, *own = (random.geometric(skill) - 1 for _ in range(3))
    alike = random.random(rows) < 0.5
    ours, theirs = (np.where(alike, both, each) for each in own)
    found = summarise(ours, users, {"gain": theirs}, repetitions=REPETITIONS)
    base = summarise(theirs, users, {}, repetitions=REPETITIONS)
    metrics = {"tasks": {NEXT: found}, "baseline": {"tasks": {NEXT: base}}}
    return {
        name: metric_gate(metrics, name, NEXT, {"min_gain": 0.0}, confidence=None)[0][
            "verdict"
        ]
        for name in RANKED
    }


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))
