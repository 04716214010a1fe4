"""``python -m pipeline`` is ``steadyrank``."""

from pipeline.cli import main

main()
