"""Parameters and inference time of embedding models by width.

python scripts/cost.py --data.path my_graph --dims '[64,32,16,8]'
"""

from pmd.cli.command import run
from pmd.cli.commands import cost_command

if __name__ == "__main__":
    run(cost_command)
