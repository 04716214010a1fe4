"""Packaging, and Beam's ``--setup_file``: workers install this same package.

The version is read from ``src/steadyrank/__init__.py`` without importing it, since nothing
is installed yet when this file runs.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


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
    # The lower bounds are what this was tested with; constraints.txt has the exact set.
    # tensorflow-io is built for TensorFlow 2.16, and binds all that goes with it.
    install_requires=[
        "tensorflow>=2.16.2,<2.17",
        "tf-keras>=2.16.0,<2.17",
        "tensorboard>=2.16.2,<2.17",  # TensorFlow writes its logs; later ones leave it out
        "setuptools<81",  # tensorboard 2.16 imports its pkg_resources
        "tensorflow-recommenders>=0.7.7",
        "tensorflow-serving-api>=2.16.1,<2.17",  # the protos of warm-up requests
        "tensorflow-io>=0.37.1,<0.38",
        "keras-tuner[bayesian]>=1.4.8",
        "grpcio",  # between the chief of a sweep and its workers
        "apache-beam[aws,tfrecord]>=2.77.0",
        "boto3",
        "botocore",
        "fastavro",
        "google-crc32c",  # without it Beam checks TFRecords in slow Python
        "numpy<2",
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
