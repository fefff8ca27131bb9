"""Embeddings of every width in other models: entity labelling and recommendation (Table 5 of MED), over several seeds.

python scripts/downstream.py                                    # a generated shop with users, items and tastes
python scripts/downstream.py --base.data.path world --out runs/labelling    # labels are the kinds of entities
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("table", "downstream")
