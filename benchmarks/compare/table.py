"""Where the recorded table of this folder's replays is."""

from pathlib import Path

TABLE = Path(__file__).parents[1] / "results" / "compare" / "lenet5.jsonl.gz"
"""Random configurations of LeNet-5 on Fashion-MNIST, see the results' README."""
