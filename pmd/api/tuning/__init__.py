"""`pmd tune`: settings of a run, tried one after the other and judged by validation."""
