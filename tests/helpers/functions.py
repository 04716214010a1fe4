"""Functions of the package, and the commands they are."""

from pathlib import Path

from tests.helpers import tiny

ROOT = Path(__file__).resolve().parents[2]

GATES = {"divergence": {"max_micro": 100}, "auc": {"click": {"min": 0.0}}}

DOCUMENT = tiny.config_document(**tiny.LONG_ENOUGH, gates=GATES)

DOCUMENT["model"] = {"trunk": "lr"}  # compiles fast
