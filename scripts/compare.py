"""Compare distillation methods over several seeds: one table, methods by grades.

python scripts/compare.py --base configs/pmd/world.yaml --seeds [0,1,2]
"""

from pmd.cli.command import run
from pmd.cli.commands import compare_command

if __name__ == "__main__":
    run(compare_command)
