"""The most plausible facts that a graph lacks: searching for them, and choosing among what was found."""
