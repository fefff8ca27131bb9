"""DualDE's tables for one graph: students with and without a teacher, and without each of the two stages.

python scripts/dualde.py --configs '[configs/dualde/umls_transe.yaml, configs/dualde/umls_rotate.yaml]'
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("table", "dualde")
