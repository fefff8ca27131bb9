"""MED beside its rivals: methods by widths for one graph and interaction, over several seeds.

python scripts/med.py --base.data.path DIR/umls --base.model.interaction rotate --base.model.dim 64 \\
    --base.model.widths '[4,16,64]' --base.loss.negatives 32 --base.train.batch_size 512 --base.train.epochs 10
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("table", "med")
