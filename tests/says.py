"""What a message must name, whatever its words."""

import re


def says(message: str, named: str) -> bool:
    """Whether a message is one line with the parts of `named` in their order; … stands for words between them."""
    return "\n" not in message and re.search(".*".join(map(re.escape, named.split("…"))), message) is not None
