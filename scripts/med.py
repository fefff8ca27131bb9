"""MED beside its rivals: methods by widths for one graph and interaction, over several seeds.

python scripts/med.py --config configs/med/umls_rotate_table.yaml
"""

from pmd.recipes.cli import run
from pmd.recipes.commands import med_command

if __name__ == "__main__":
    run(med_command)
