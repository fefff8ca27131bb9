"""Parameters and inference time of embedding models by width.

python scripts/cost.py --data.path my_graph --dims '[64,32,16,8]'
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("table", "cost")
