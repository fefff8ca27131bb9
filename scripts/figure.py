"""Draw a run of embedding models: MRR, size and time by width, or MRR by epoch with and without a teacher.

python scripts/figure.py --run runs/dualde/seed0/umls_rotate --what epochs
"""

from pmd.cli.main import main

if __name__ == "__main__":
    main("figure")
