"""`pmd update`: a trained model of a newer state of its graph."""

UPDATED = "update.json"
"""What an update noted, beside the model and in its run."""
