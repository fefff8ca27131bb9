"""`pmd fit`: any graph, from its files to the first answer: what is understood, planned and measured."""
