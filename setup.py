"""Packaging, and Beam's ``--setup_file``: workers install this same package.

The version is read from ``src/steadyrank/__init__.py`` without importing it, since nothing
is installed yet when this file runs.
"""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent

# What goes with a TensorFlow, by its version.  The lower bounds are what this was tested
# with; the constraints files have the exact sets.
CHOICE, DEFAULT = "STEADYRANK_TENSORFLOW", "2.16"
BOUND_TO = {
    "2.16": [  # which tensorflow-io is built for
        "tensorflow>=2.16.2,<2.17",
        "tf-keras>=2.16.0,<2.17",
        "tensorboard>=2.16.2,<2.17",  # TensorFlow writes its logs; later ones leave it out
        "setuptools<81",  # tensorboard 2.16 imports its pkg_resources
        "tensorflow-serving-api>=2.16.1,<2.17",  # the protos of warm-up requests
        "tensorflow-io>=0.37.1,<0.38",
        "numpy<2",
    ],
    "2.21": [  # object storage is read without tensorflow-io
        "tensorflow>=2.21.0,<2.22",
        "tf-keras>=2.21.0,<2.22",
        "tensorboard>=2.21.0,<2.22",
        "setuptools",  # Beam's --setup_file
        "tensorflow-serving-api>=2.21.0,<2.22",
        "numpy<3",
    ],
}


def tensorflow() -> str:
    """The version in the environment's ``STEADYRANK_TENSORFLOW``, or an sdist's own.

    Beam's workers install from an sdist, and have another environment.
    """
    made = ROOT / "PKG-INFO"
    told = made.read_text(encoding="utf-8") if made.exists() else ""
    found = re.search(
        r"^Requires-Dist: tensorflow\b[^-\n]*>=(\d+\.\d+)", told, re.MULTILINE
    )
    chosen = os.environ.get(CHOICE) or (found.group(1) if found else DEFAULT)
    if chosen not in BOUND_TO:
        raise ValueError(f"{CHOICE} must be {' or '.join(BOUND_TO)}. Received: {chosen!r}.")
    return chosen


def version() -> str:
    """Return ``__version__`` as ``src/steadyrank/__init__.py`` states it."""
    source = (ROOT / "src" / "steadyrank" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', source, re.MULTILINE)
    if found is None:
        raise ValueError(
            "__version__ must be a line '__version__ = \"X.Y.Z\"' of "
            "src/steadyrank/__init__.py. Received: none. Restore it."
        )
    return found.group(1)


def readme() -> str:
    """Return the README, or nothing where a sparse checkout leaves it out."""
    path = ROOT / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


setup(
    name="steadyrank",
    version=version(),
    description="Multitask ranking models that do not diverge, from raw log to gate",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages("src"),
    package_dir={"": "src"},
    package_data={
        "steadyrank": ["py.typed"],
        "steadyrank.pipeline.report": ["report.css", "report.js"],
    },
    python_requires=">=3.10,<3.13",
    install_requires=[
        *BOUND_TO[tensorflow()],
        "tensorflow-recommenders>=0.7.7",
        "keras-tuner[bayesian]>=1.4.8",
        "grpcio",  # between the chief of a sweep and its workers
        "apache-beam[aws,tfrecord]>=2.77.0",
        "boto3",
        "botocore",
        "fastavro",
        "google-crc32c",  # without it Beam checks TFRecords in slow Python
        "pyarrow",
        "pydantic>=2.11",
        "pyyaml",
        "typer",
        "rich",
        "tzdata",  # time zones, where the system has none
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]"],
        "iceberg": ["pyiceberg"],
        "mlflow": ["mlflow-skinny>=3"],
        "test": [
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "scikit-learn",
            "scipy",
            "packaging",
            "plotly",  # whose form the report's figures have
            "ruff",
            "moto[s3]",  # a local S3 server; its extra "server" adds forty more packages
            "flask",
            "flask-cors",
            "requests",
            "pyiceberg",
            "sqlalchemy",  # a catalog to write Iceberg tables with
            "tensorflow-metadata",  # reads the schema that a data contract is written as
        ],
        "bench": [],  # what the benchmarks measure against comes here
    },
    entry_points={"console_scripts": ["steadyrank = steadyrank.pipeline.cli:main"]},
)
