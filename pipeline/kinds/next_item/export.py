"""A trained next-item model to a SavedModel under the next version number.

In: what ``train`` published.  Out: ``<output>/<version>/``; ``assets.extra/`` there holds
``card.json``, the training log and warm-up requests, as ``pipeline.export.stage`` says.

    steadyrank export --config C --train DIR --output DIR
"""

import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.pipeline.config.next_item import KIND, SequenceConfig
from steadyrank.pipeline.examples.compatibility import require_same
from steadyrank.pipeline.examples.example_set import vocab_path
from steadyrank.pipeline.export.card import CARD, EXTRA, next_version
from steadyrank.pipeline.export.signatures import RAW
from steadyrank.pipeline.export.warmup import ROWS, WARMUP_FILE, prediction_log
from steadyrank.pipeline.files.publish import publish, read_json, write_json
from steadyrank.pipeline.files.versions import git_revision, versions
from steadyrank.pipeline.kinds.next_item.example_set import ITEM, SequenceSchema
from steadyrank.pipeline.kinds.next_item.model import TRAINED, build, load_weights
from steadyrank.pipeline.kinds.next_item.serving import HISTORY, NextItemModule
from steadyrank.pipeline.train.log import LOG_FILE


def export(config: SequenceConfig, train_path: Path, output: Path) -> Path:
    """Export the best weights of the last phase; see ``pipeline.export.stage``.

    Returns:
        The new version's folder.

    Raises:
        InputError: There is no whole trained model, or of another config.
    """
    train_path, output = Path(train_path), Path(output)
    summary = read_json(train_path / "train.json", TRAINED)
    document = read_json(train_path / "schema.json", TRAINED)
    schema = SequenceSchema.from_dict(document, train_path / "schema.json")
    require_same(config, train_path / "config.yaml", ["model"])
    model = build(config, schema, summary["phases"][-1]["blocks"])
    load_weights(model, train_path / "best")
    vocab, serving = train_path / "vocab", config.serving
    module = NextItemModule(model, schema, vocab, serving.k, serving.exclude_seen)
    version = next_version(output)
    with publish(output / str(version)) as partial:
        tf.saved_model.save(module, str(partial), module.signatures)
        extra = partial / EXTRA
        extra.mkdir()
        shutil.copy(train_path / LOG_FILE, extra / LOG_FILE)
        card = {
            "kind": KIND,
            "schema": schema.to_dict(),
            "config": config.model_dump(mode="json"),
            "training": summary,
            "data": read_json(train_path / "examples.json", TRAINED),
            "versions": versions(),
            "git_revision": git_revision(),
            "signatures": sorted(module.signatures),
        }
        write_json(extra / CARD, card)
        write_warmup(extra / WARMUP_FILE, schema, vocab)
    return output / str(version)


def write_warmup(path: Path, schema: SequenceSchema, vocab: Path) -> None:
    """Requests of the most frequent items, that TensorFlow Serving replays at its start."""
    text = vocab_path(vocab, ITEM).read_text(encoding="utf-8")
    known = text.split("\n")[: min(schema.items, schema.history)]
    kind = np.int64 if schema.raw == "integer" else object
    row = np.array(known).astype(kind)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for rows in ROWS:
            log = prediction_log(RAW, {HISTORY: np.tile(row, [rows, 1])})
            writer.write(log.SerializeToString())
