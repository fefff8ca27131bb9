"""The commands as functions: the same names and settings, typed results, and nothing changed behind one's back."""
