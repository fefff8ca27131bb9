"""Compare distillation methods over several seeds: one table, methods by grades.

python scripts/compare.py --base configs/pmd/world.yaml --seeds [0,1,2]
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("table", "compare")
