"""Rank a split with a trained model: any grade of any run.

python scripts/evaluate.py --model runs/world-20260101-120000/grade1
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("evaluate")
