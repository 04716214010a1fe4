"""CTR models against NumPy, written from the papers; and what all of them must do."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.layers.interactions import VectorCross, fm_pooling
from steadyrank.components.optimizers.rows import RowAdagrad
from steadyrank.models.build import DENSE_OPTIMIZERS, PRODUCTS, TRUNKS, WIDE, build_model
from steadyrank.models.features import Feature, Task

NAN = float("nan")
DIM, ROWS = 3, 12
FEATURES = (
    Feature("price", "numeric", mean=1.0, std=2.0),
    Feature("user", "categorical", dim=DIM, vocabulary_size=9),
    Feature("item", "categorical", dim=DIM, vocabulary_size=6),
    Feature("tags", "categorical", dim=DIM, max_values=2, vocabulary_size=4),
    Feature("age", "numeric", mean=0.5, std=1.0),
    Feature("hour", "numeric", dim=DIM, boundaries=(0.0, 1.0)),
)
LINEAR = {"embedding_dim": DIM, "tower_units": []}
DEEP = {**LINEAR, "deep_units": [8, 5]}
SETTINGS = {
    "lr": LINEAR,
    "fm": LINEAR,
    "wide_deep": DEEP,
    "deepfm": DEEP,
    "dcn": {**DEEP, "cross_layers": 2},
    "dcn_v2": {**DEEP, "cross_layers": 2, "rank": None},
}
CTR = pytest.mark.parametrize("trunk", WIDE)


def tasks(count):
    return [Task(f"task_{k}", mean=0.3) for k in range(count)]


def build(trunk, count=1, features=FEATURES, **settings):
    names = " + ".join(task.name for task in tasks(count))
    settings = {"trunk": trunk, **SETTINGS[trunk], **settings}
    model = build_model(features, tasks(count), names, settings, seed=3)
    random = np.random.default_rng(5)
    for variable in model.trainable_variables:  # linear weights start at 0
        variable.assign(0.3 * random.normal(size=variable.shape))
    return model


def batch(rows=ROWS, seed=0):
    random = np.random.default_rng(seed)
    features = {
        "price": random.normal(size=rows).astype(np.float32),
        "user": random.integers(0, 11, rows).astype(np.int32),
        "item": random.integers(0, 8, rows).astype(np.int32),
        "tags": random.integers(0, 6, [rows, 2]).astype(np.int32),
        "age": random.normal(size=rows).astype(np.float32),
        "hour": random.normal(size=rows).astype(np.float32),
    }
    features["price"][::5] = NAN
    return features


def tensors(features):
    return {name: tf.constant(values) for name, values in features.items()}


def starts(features):
    """First row of each embedded feature in a fused table, by hand."""
    sizes = {"user": 11, "item": 8, "tags": 6, "hour": 4}
    return dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))


def naive_rows(features, b):
    """Feature -> its rows in a fused table, for one example."""
    first = starts(FEATURES)
    bucket = 1 + int(features["hour"][b] >= 0) + int(features["hour"][b] >= 1)
    tags = [int(t) for t in features["tags"][b] if t] or [0]
    ids = {"user": [features["user"][b]], "item": [features["item"][b]], "tags": tags}
    ids["hour"] = [bucket]
    return {name: [first[name] + int(i) for i in each] for name, each in ids.items()}


def naive_numbers(features, b):
    found = []
    for name, mean, std in (("price", 1.0, 2.0), ("age", 0.5, 1.0)):
        x = features[name][b]
        found += [0.0, 1.0] if np.isnan(x) else [(x - mean) / std, 0.0]
    return found


def naive(model, trunk, features, b):
    """Logit of task 0 of one example."""
    weights = {v.name.removeprefix("ranking_model/"): v.numpy() for v in model.weights}
    get = {name.split(":")[0]: value for name, value in weights.items()}.__getitem__
    rows, numbers = naive_rows(features, b), naive_numbers(features, b)
    linear = get("inputs/linear/embeddings")[:, 0]
    logit = get("bias_task_0") + sum(linear[r] for each in rows.values() for r in each)
    logit += np.dot(numbers, get("inputs/linear_kernel")[:, 0])
    if trunk == "lr":
        return logit
    table = get(f"inputs/embedding_{DIM}/embeddings")
    v = {name: np.mean([table[r] for r in each], axis=0) for name, each in rows.items()}
    if trunk in PRODUCTS:
        logit += sum(np.dot(a, c) for a, c in itertools.combinations(v.values(), 2))
    if trunk == "fm":
        return logit
    x = np.concatenate(
        [numbers[:2], v["user"], v["item"], v["tags"], numbers[2:], v["hour"]]
    )
    deep, name = x, "deep/bottom" if "deep" in trunk else "cross_and_deep/deep"
    for layer in ("dense_0", "dense_1"):
        kernel, bias = get(f"{name}/{layer}/kernel"), get(f"{name}/{layer}/bias")
        deep = np.maximum(deep @ kernel + bias, 0)
    crossed = x
    for layer in ("cross_0", "cross_1") if trunk.startswith("dcn") else ():
        if trunk == "dcn":
            kernel, bias = (get(f"cross_and_deep/{layer}/{n}") for n in ("kernel", "bias"))
            crossed = x * (crossed @ kernel[:, 0]) + bias + crossed
        else:
            dense = f"cross_and_deep/{layer}/dense"
            found = [n for n in weights if n.startswith(f"cross_and_deep/{layer}/")]
            kernel, bias = sorted((weights[n] for n in found), key=np.ndim, reverse=True)
            assert len(found) == 2, dense
            crossed = x * (crossed @ kernel + bias) + crossed
    state = np.concatenate([crossed, deep]) if trunk.startswith("dcn") else deep
    tower = "tower_task_0/dense_0"
    return logit + state @ get(f"{tower}/kernel")[:, 0] + get(f"{tower}/bias")[0]


@CTR
def test_a_single_task_model_is_the_published_one(trunk):
    model, features = build(trunk), batch()
    got = model(tensors(features))["task_0"]
    expected = [naive(model, trunk, features, b) for b in range(ROWS)]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_all_of_them_are_here():
    assert set(WIDE) <= set(TRUNKS)
    assert {"lr", "fm", "wide_deep", "deepfm", "dcn", "dcn_v2"} == set(WIDE)


def test_products_of_fields_and_their_gradient():
    random = np.random.default_rng(1)
    fields = tf.constant(random.normal(size=[4, 5, 3]), tf.float32)
    pairs = itertools.combinations(range(5), 2)
    expected = sum(fields[:, i] * fields[:, j] for i, j in pairs)
    np.testing.assert_allclose(fm_pooling(fields), expected, rtol=1e-5, atol=1e-5)
    theory, practice = tf.test.compute_gradient(fm_pooling, [fields], 1e-2)
    np.testing.assert_allclose(theory[0], practice[0], atol=2e-2)


def test_a_vector_cross_by_hand():
    layer = VectorCross(name="cross")
    x0, x = tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0]])
    layer(x0, x)
    layer.kernel.assign([[10.0], [1.0]])
    layer.bias.assign([0.5, -0.5])
    np.testing.assert_allclose(layer(x0, x), [[34 + 0.5 + 3, 68 - 0.5 + 4]])
    assert VectorCross.from_config(layer.get_config()).get_config() == layer.get_config()


def test_low_rank_matrices_have_fewer_weights():
    full, low = (build("dcn_v2", rank=rank) for rank in (None, 2))
    width = 4 + 4 * DIM
    sizes = [sum(np.prod(v.shape) for v in m.trunk.crosses[0].weights) for m in (full, low)]
    assert sizes == [width * width + width, 4 * width + width]
    model = low(tensors(batch()))["task_0"]
    assert np.all(np.isfinite(model))


@CTR
def test_tasks_have_linear_weights_of_their_own(trunk):
    model, features = build(trunk, count=2), tensors(batch())
    before = model(features)
    table = model.inputs_layer.tables["linear"].embeddings
    table.assign(table + [[0.0, 1.0]])
    after = model(features)
    np.testing.assert_array_equal(after["task_0"], before["task_0"])
    assert np.all(after["task_1"] > before["task_1"])


@CTR
def test_candidates_score_as_rows_do(trunk):
    model, features = build(trunk, count=2), batch()
    shared = ["user", "price", "tags"]
    for name in shared:
        features[name] = np.repeat(features[name][1:2], ROWS, axis=0)
    whole = model.head.predict_tasks(tensors(features))
    once = {n: v[:1] if n in shared else v for n, v in features.items()}
    cuts = model.head.cut_kernels(tensors(once), shared)
    for each in (None, cuts):
        got = model.head.predict_candidates(tensors(once), shared, each)
        for name, expected in whole.items():
            np.testing.assert_allclose(got[name], expected, rtol=1e-4, atol=1e-5)


def compiled(trunk, count, **settings):
    model = build(trunk, count)
    # not Adam, whose first step has the same length for any gradient, noise included
    rows = RowAdagrad(0.05, r=0.005, l2=1e-3, **settings)
    model.compile(DENSE_OPTIMIZERS["adagrad"](0.1), rows)
    return model


def labelled(seed, count):
    features, random = batch(seed=seed), np.random.default_rng([seed, 1])
    labels = {t.name: random.integers(0, 2, ROWS).astype(np.float32) for t in tasks(count)}
    masks = {name: np.ones(ROWS, np.float32) for name in labels}
    masks["task_0"][: ROWS // 2] = 0
    return tuple(map(tensors, (features, labels, masks)))


def values(model):
    return [v.numpy() for v in (*model.dense_variables, *model.embedding_variables)]


@CTR
def test_a_step_equals_one_through_the_tables(trunk):
    """``train_step`` reads each row once; the plain way is a gradient of the tables."""
    # DeepFM's plain way reads every row twice, which CowClip's counts would notice
    settings = {"semantics": "touched", "clip": "none"}
    one, other = (compiled(trunk, 2, **settings) for _ in range(2))
    for seed in range(2):
        features, labels, masks = labelled(seed, 2)
        one.train_step((features, labels, masks))
        with tf.GradientTape() as tape:
            losses = other.task_losses(labels, masks, other(features))
            loss = tf.add_n(list(losses.values()))
        both = other.dense_variables, other.embedding_variables
        gradients = tape.gradient(loss, both)
        other.dense_optimizer.apply_gradients(zip(gradients[0], both[0], strict=True))
        other.embedding_optimizer.apply_gradients(zip(gradients[1], both[1], strict=True))
    for a, b in zip(values(one), values(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_two_replicas_equal_one(two_replicas):
    one = compiled("deepfm", 2)  # of which the linear model is a part
    with two_replicas.scope():
        two = compiled("deepfm", 2)

    @tf.function(autograph=False)
    def step(data):
        two_replicas.run(two.train_step, (data,))

    half = ROWS // 2
    for seed in range(3):
        data = labelled(seed, 2)
        one.train_step(data)
        step(
            two_replicas.experimental_distribute_values_from_function(
                lambda c, data=data: tf.nest.map_structure(
                    lambda x: x[c.replica_id_in_sync_group * half :][:half], data
                )
            )
        )
    one.catch_up()
    with two_replicas.scope():
        two.catch_up()
    for a, b in zip(values(one), values(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_features_may_share_a_table():
    features = (
        Feature("item", "categorical", dim=DIM, vocabulary_size=6),
        Feature(
            "history",
            "categorical",
            dim=DIM,
            max_values=3,
            vocabulary_size=6,
            table="item",
        ),
    )
    model = build("deepfm", features=features)
    assert [v.shape[0] for v in model.embedding_variables] == [8, 8]  # and the linear one
    ids = {"item": tf.constant([5, 2]), "history": tf.constant([[5, 0, 0], [2, 2, 0]])}
    embedded = model.inputs_layer.parts(ids)
    np.testing.assert_allclose(embedded["item"], embedded["history"], rtol=1e-6)
