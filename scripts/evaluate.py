"""Rank a split with a trained model: any grade of any run.

python scripts/evaluate.py --model runs/world-20260101-120000/grade1
"""

from pmd.cli.command import run
from pmd.cli.commands import evaluate_command

if __name__ == "__main__":
    run(evaluate_command)
