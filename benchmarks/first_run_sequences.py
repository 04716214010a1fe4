"""Next-item models as ``benchmarks.first_run`` has them: defaults against counts and a net.

Two logs: MovieLens-small, in which every movie rated from July 2015 on is to be foretold;
and one that is generated, in which an item follows from the newest one, from the one
before that, or from its user's taste, and each user's last item is to be foretold.  Items
of the history are no answers on MovieLens, where nobody rates a movie twice.

Ours is each kind of block with two blocks and a patience, which a config must name; all
else is as it is by default.  The opponents: a table of which item came right after which,
how often; and a plain net, a GRU over vectors of 64 whose softmax reads the same vectors,
Adam at 1e-3 or 3e-3, whichever validates better, with the same patience.
"""

from collections.abc import Callable
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets the TensorFlow environment: comes first)

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.models.next_item import ITEMS
from steadyrank.pipeline.config import SequenceConfig, parse_sequence_config
from steadyrank.pipeline.kinds import kind_of, preprocess, train
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSet
from steadyrank.pipeline.kinds.next_item.learner import ranks_of
from steadyrank.pipeline.kinds.next_item.measure import once
from steadyrank.pipeline.kinds.next_item.model import best_model
from steadyrank.pipeline.kinds.next_item.references import Transitions
from steadyrank.pipeline.kinds.next_item.scored import row_metrics, summarise
from steadyrank.pipeline.kinds.next_item.serving import visible

MAIN, TOLD = "ndcg@10", ("ndcg@10", "hr@20")
PATIENCE = 5  # evaluations, one an epoch, of every net
CELLS = 1 << 23  # scores in memory at once
RATES = (1e-3, 3e-3)  # of the plain net
BLOCKS = ("sasrec", "nextitnet")
LOGS = ("movielens", "chains")
MODEL = {"kind": "next_item"}
USERS, EVENTS, CHAIN_ITEMS, TASTES = 1_000, 30, 300, 6
FROM_NEWEST, FROM_BEFORE = 0.3, 0.3  # probability that the next item follows from it


def chains(seed: int = 1) -> pa.Table:
    """Events of users: the next item follows from one of the last two, or from taste."""
    random = np.random.default_rng(seed)
    newest, before = (random.permutation(CHAIN_ITEMS) for _ in range(2))
    popular = 1 / (np.arange(CHAIN_ITEMS // TASTES) + 3.0)
    taste = random.integers(0, TASTES, USERS)
    items = np.zeros([USERS, EVENTS], np.int64)
    for t in range(EVENTS):
        of_taste = random.choice(len(popular), USERS, p=popular / popular.sum())
        items[:, t] = of_taste * TASTES + taste
        chosen = random.random(USERS)
        if t > 1:
            of_newest = chosen < FROM_NEWEST
            of_before = ~of_newest & (chosen < FROM_NEWEST + FROM_BEFORE)
            items[of_newest, t] = newest[items[of_newest, t - 1]]
            items[of_before, t] = before[items[of_before, t - 2]]
    times = 1_700_000_000_000 + np.arange(USERS * EVENTS) * 1_000
    users = np.repeat(np.arange(USERS), EVENTS)
    return pa.table({"user": users, "item": items.ravel(), "time_ms": times})


def document_of(name: str, data: Path, folder: Path) -> dict:
    """A log in its folder, and its config but for the block."""
    folder.mkdir(parents=True)
    if name == "chains":
        pq.write_table(chains(), folder / "log.parquet")
        keys = {"user": "user", "item": "item", "time": "time_ms", "length": 20}
        log = {"input": ["log.parquet"], "sequences": keys, "split": "leave_last_out"}
        return {"data": log, "serving": {"exclude_seen": False}}
    (folder / "ratings.csv").symlink_to((data / "movielens_small/ratings.csv").resolve())
    keys = {"user": "userId", "item": "movieId", "time": "timestamp", "length": 20}
    log = {
        "input": ["ratings.csv"],
        "time_unit": "s",
        "sequences": {**keys, "min_count": 5},
        "split": {"validation": "2014-01-01", "test": "2015-07-01"},
    }
    return {"data": log, "serving": {"exclude_seen": True}}


def config_of(document: dict, model: dict, train_section: dict) -> SequenceConfig:
    """A config of two blocks; keys of ``model`` and ``train`` may be set."""
    phases = [{"blocks": 2, "patience": PATIENCE}]
    made = {**document, "model": {**MODEL, **model}}
    return parse_sequence_config(
        {**made, "train": {"phases": phases, **train_section}}, "first_run"
    )


class Ranker:
    """How a net ranks what comes next, as it is served.

    Args:
        score: Histories ``[B, T]`` to scores of all items, the unknown last.
        examples: The sequences.
        hides: Whether items of the history are no answers.
    """

    def __init__(self, score: Callable, examples: SequenceSet, hides: bool):
        items = self._items = examples.schema.items
        self._examples = examples

        def rank(batch):
            history = batch[:, :-1]
            shown = visible(score(history), history if hides else None)
            return ranks_of(shown, batch[:, -1], items)

        self._call = BatchFunction(rank)

    def __call__(self, split: str) -> np.ndarray:
        """Rank of each sequence's last item, int ``[N]``."""
        rows, _ = self._examples.read(split)
        size = max(1, CELLS // (self._items + 2))
        parts = [rows[at : at + size] for at in range(0, len(rows), size)]
        return np.concatenate([self._call(tf.constant(part)).numpy() for part in parts])


def ours(config: SequenceConfig, examples: SequenceSet, folder: Path) -> dict:
    """Ranks of the best weights by split, and how long training took."""
    summary = train(config, examples.path, folder, progress=_say)
    model = best_model(config, examples.schema, folder)
    hides = config.serving.exclude_seen
    rank = Ranker(lambda history: model.scores({ITEMS: history}), examples, hides)
    found = {split: rank(split) for split in ("validation", "test")}
    return {"ranks": found, "epochs": summary["epochs"], "steps": summary["steps"]}


def _say(step: int, total: int, text: str) -> None:
    """What each epoch validated."""
    if not total:
        print(f"  {text}", flush=True)


def counted(examples: SequenceSet, hides: bool) -> np.ndarray:
    """Test ranks by counted transitions."""
    table = Transitions(once(*examples.training()), examples.counts())

    def score(history):
        scores = tf.numpy_function(table, [history], tf.float32)
        return tf.ensure_shape(scores, [None, examples.schema.items + 1])

    return Ranker(score, examples, hides)("test")


class PlainNet(tf.keras.Model):
    """A GRU over items' vectors, which are its softmax, too."""

    def __init__(self, items: int, dim: int = 64):
        super().__init__()
        self.items = items
        self.vectors = tf.keras.layers.Embedding(items + 2, dim, mask_zero=True)
        self.states = tf.keras.layers.GRU(dim, return_sequences=True)

    def call(self, history):
        """Scores of the items, the unknown one last: ``[B, T, V + 1]``."""
        states = self.states(self.vectors(history))
        return tf.matmul(states, self.vectors.embeddings[1:], transpose_b=True)

    def last(self, history):
        """Scores of what comes next, ``[B, V + 1]``."""
        states = self.states(self.vectors(history))[:, -1]
        return tf.matmul(states, self.vectors.embeddings[1:], transpose_b=True)


def plain_net(examples: SequenceSet, hides: bool, batch_size: int = 128) -> np.ndarray:
    """Test ranks of the better of two rates."""
    rows, own = examples.training()
    items, length = examples.schema.items, rows.shape[1]
    first = np.arange(1, length) >= length - own[:, np.newaxis]  # targets of their own
    targets = np.where(first & (rows[:, 1:] <= items), rows[:, 1:], 0)
    best, found = -1.0, None
    for rate in RATES:
        tf.keras.utils.set_random_seed(1)
        model, optimizer = PlainNet(items), tf.keras.optimizers.Adam(rate)
        rank = Ranker(model.last, examples, hides)

        @tf.function(reduce_retracing=True)
        def step(history, target, model=model, optimizer=optimizer):
            with tf.GradientTape() as tape:
                known = target > 0
                logits = tf.boolean_mask(model(history), known)
                labels = tf.boolean_mask(target, known) - 1
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(loss)
            weights = model.trainable_variables
            optimizer.apply_gradients(
                zip(tape.gradient(loss, weights), weights, strict=True)
            )

        dataset = tf.data.Dataset.from_tensor_slices((rows[:, :-1], targets))
        dataset = dataset.shuffle(len(rows), seed=1).batch(batch_size)
        stale, high = 0, -1.0
        while stale < PATIENCE:
            for batch in dataset:
                step(*batch)
            value = float(row_metrics(rank("validation"))[MAIN].mean())
            print(f"  net, {rate}: validation {MAIN} {value:.4f}", flush=True)
            stale = 0 if value > high else stale + 1
            high = max(high, value)
            if value > best:
                best, found = value, rank("test")
    return found


def opened(name: str, data: Path, folder: Path) -> tuple[dict, SequenceSet]:
    """A log's config and its sequences."""
    document = document_of(name, data, folder / "log")
    config = config_of(document, {}, {})
    preprocess(config, folder / "log", folder / "examples")
    return document, kind_of(config).open_examples(folder / "examples")


def against(name: str, data: Path, folder: Path) -> dict:
    """A log: each kind of block beside both opponents, with paired 95 % intervals."""
    document, examples = opened(name, data, folder)
    hides = document["serving"]["exclude_seen"]
    _, users = examples.read("test")
    peers = {"transitions": counted(examples, hides), "net": plain_net(examples, hides)}
    found = {"rows": len(users), "users": len(np.unique(users)), "models": {}}
    for each, of_peer in peers.items():
        found[each] = {m: round(float(row_metrics(of_peer)[m].mean()), 4) for m in TOLD}
    for block in BLOCKS:
        config = config_of(document, {"block": block}, {})
        mine = ours(config, examples, folder / block)
        told = summarise(mine["ranks"]["test"], users, peers)
        found["models"][block] = {
            "epochs": mine["epochs"],
            **{metric: round(told[metric], 4) for metric in TOLD},
            "difference": {
                peer: {metric: _interval(told[peer][metric]) for metric in TOLD}
                for peer in peers
            },
        }
    return found


def _interval(difference: dict) -> list[float]:
    bounds = difference["interval"] or [float("nan")] * 2
    return [round(float(x), 4) for x in (difference["difference"], *bounds)]


CANDIDATES = {
    "as shipped": {},
    "batch 64": {"train": {"batch_size": 64}},
    "batch 64, rows .001": {
        "train": {"batch_size": 64, "embedding": {"learning_rate": 1e-3}}
    },
    "batch 64, normalize_first": {
        "train": {"batch_size": 64},
        "model": {"normalize_first": True},
    },
    "batch 64, tied": {"train": {"batch_size": 64}, "model": {"tied": True}},
    "batch 64, no dropout": {"train": {"batch_size": 64}, "model": {"dropout": 0.0}},
}


def choose(name: str, data: Path, folder: Path, seeds=(1, 2)) -> dict:
    """Validation NDCG@10 of each candidate that a kind of block can have, seed by seed."""
    document, examples = opened(name, data, folder)
    found: dict = {}
    for block in BLOCKS:
        for title, keys in CANDIDATES.items():
            if block == "nextitnet" and {"normalize_first", "dropout"} & {
                *keys.get("model", {})
            }:
                continue
            for seed in seeds:
                made = {**keys.get("train", {}), "seed": seed}
                config = config_of(
                    document, {**keys.get("model", {}), "block": block}, made
                )
                place = folder / f"{block} {title} {seed}"
                mine = ours(config, examples, place)
                value = row_metrics(mine["ranks"]["validation"])[MAIN].mean()
                found.setdefault(f"{block}: {title}", []).append(round(float(value), 4))
            print(f"  {block}: {title}: {found[f'{block}: {title}']}", flush=True)
    return found
