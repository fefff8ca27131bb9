"""Draw a run of embedding models: MRR, size and time by width, or MRR by epoch with and without a teacher.

python scripts/figure.py --run runs/dualde/seed0/umls_rotate --what epochs
"""

from pmd.cli.command import run
from pmd.cli.commands import figure_command

if __name__ == "__main__":
    run(figure_command)
