"""Tables of finished comparisons for a page, and paired comparisons of their rows.

python scripts/results.py collect runs/compare --name world_methods --against '[no distillation]'
python scripts/results.py render
python scripts/results.py paired runs/compare --rows '[PMD, LKD]'
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("results")
