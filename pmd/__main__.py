"""`python -m pmd`, for launchers that start modules: `torchrun --nproc_per_node 2 -m pmd train`."""

from pmd.cli.main import main

if __name__ == "__main__":
    main()
