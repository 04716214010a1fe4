"""The opponents of ``benchmarks.first_run``: LightGBM and a plain net, each tuned."""

import steadyrank.components  # noqa: F401  (sets the TensorFlow environment: comes first)

# isort: split
import numpy as np
import tensorflow as tf

from steadyrank.components.metrics import grouped

ROWS = 8192  # of a batch that is scored


def lightgbm(splits: dict, tasks: list[str]) -> dict:
    """Task -> test outputs of the better of two sizes of trees."""
    import lightgbm as gbm

    def table(rows):
        ids = [x[:, :2] for x in rows["ids"].values()]
        numbers = [x[:, None] for x in rows["numbers"].values()]
        return np.concatenate([*ids, *numbers], axis=1).astype(np.float32)

    wide = sum(min(x.shape[1], 2) for x in splits["train"]["ids"].values())
    tables, found = {name: table(rows) for name, rows in splits.items()}, {}
    for task in tasks:
        inside = {name: rows["masks"][task] > 0 for name, rows in splits.items()}
        best = -1.0
        for leaves in (31, 127):
            model = gbm.LGBMClassifier(
                num_leaves=leaves,
                n_estimators=2000,
                learning_rate=0.05,
                n_jobs=2,
                verbose=-1,
            )
            held = inside["validation"]
            truth = splits["validation"]["labels"][task][held]
            model.fit(
                tables["train"][inside["train"]],
                splits["train"]["labels"][task][inside["train"]],
                eval_set=[(tables["validation"][held], truth)],
                eval_metric="auc",
                categorical_feature=list(range(wide)),
                callbacks=[gbm.early_stopping(50, verbose=False)],
            )
            area = grouped.auc(truth, model.predict_proba(tables["validation"][held])[:, 1])
            if area > best:
                best, found[task] = area, model.predict_proba(tables["test"])[:, 1]
    return found


def plain_net(splits: dict, tasks: list[str]) -> dict:
    """Task -> test outputs of the better of two rates; all tasks at once."""
    rows = splits["train"]
    moments = {n: (np.nanmean(x), np.nanstd(x) or 1.0) for n, x in rows["numbers"].items()}

    def inputs(split):
        found = {n: x.astype(np.int32) for n, x in split["ids"].items()}
        for name, x in split["numbers"].items():
            mean, std = moments[name]
            found[f"{name} "] = np.nan_to_num((x - mean) / std)[:, None].astype(np.float32)
        return found

    best, outputs = -1.0, {}
    for rate in (1e-3, 3e-3):
        tf.keras.utils.set_random_seed(1)
        given = {
            n: tf.keras.Input([x.shape[1]], dtype=x.dtype) for n, x in inputs(rows).items()
        }
        vectors = []
        for name, x in given.items():
            if name in rows["ids"]:
                size = int(max(s["ids"][name].max() for s in splits.values())) + 1
                embedded = tf.keras.layers.Embedding(size, 16)(x)
                vectors.append(tf.reduce_mean(embedded, axis=1))
            else:
                vectors.append(x)
        x = tf.concat(vectors, axis=1)
        for units in (128, 64):
            x = tf.keras.layers.Dense(units, "relu")(x)
        logits = {task: tf.keras.layers.Dense(1, name=task)(x)[:, 0] for task in tasks}
        model = tf.keras.Model(given, logits)
        optimizer, high, stale = tf.keras.optimizers.Adam(rate), -1.0, 0

        @tf.function
        def step(batch, labels, masks, model=model, optimizer=optimizer):
            with tf.GradientTape() as tape:
                outputs = model(batch, training=True)
                loss = 0.0
                for task in tasks:
                    each = tf.nn.sigmoid_cross_entropy_with_logits(
                        tf.where(masks[task] > 0, labels[task], 0.0), outputs[task]
                    )
                    total = tf.reduce_sum(each * masks[task])
                    loss += tf.math.divide_no_nan(total, tf.reduce_sum(masks[task]))
            weights = model.trainable_variables
            optimizer.apply_gradients(
                zip(tape.gradient(loss, weights), weights, strict=True)
            )

        dataset = (
            tf.data.Dataset.from_tensor_slices(
                (inputs(rows), rows["labels"], rows["masks"])
            )
            .shuffle(1 << 18, seed=1)
            .batch(512)
        )
        for _ in range(20):
            for batch in dataset:
                step(*batch)
            held = splits["validation"]
            area = mean_area(foretell(model, inputs(held)), held, tasks)
            stale = 0 if area > high else stale + 1
            high = max(high, area)
            if area > best:
                best, outputs = area, foretell(model, inputs(splits["test"]))
            if stale == 2:
                break
    return outputs


def foretell(model, inputs: dict) -> dict:
    """Logits of all rows."""
    dataset = tf.data.Dataset.from_tensor_slices(inputs).batch(ROWS)
    parts = [model(batch) for batch in dataset]
    return {
        task: np.concatenate([part[task].numpy() for part in parts]) for task in parts[0]
    }


def mean_area(outputs: dict, rows: dict, tasks: list[str]) -> float:
    """Mean AUC of the tasks, each over its sample space."""
    areas = []
    for task in tasks:
        inside = rows["masks"][task] > 0
        areas.append(grouped.auc(rows["labels"][task][inside], outputs[task][inside]))
    return float(np.nanmean(areas))
