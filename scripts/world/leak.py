"""Says whether a description gives an answer away.

A model that reads descriptions must not be able to copy the answer of a query out of the text it is shown,
or the ranking measures copying. The builder drops every fact that would allow it, and the tests look again
over the shipped files; both use the functions here, which need nothing but the standard library.
"""

import re
from collections.abc import Iterable


def code(entity_id: str) -> str:
    """The part of an id after its kind: `territory:AT` gives `AT`."""
    return entity_id.partition(":")[2]


def mentions(text: str, phrase: str) -> bool:
    """True when `phrase` stands in `text` as whole words, whatever the case."""
    text, phrase = text.casefold(), phrase.casefold()
    # The plain search is there for speed: the pattern is only compiled for the few texts that can match.
    return phrase in text and re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text) is not None


def gives_away(text: str, entity_id: str, name: str) -> bool:
    """True when `text` holds the name, the id or the code of the entity."""
    return any(mentions(text, phrase) for phrase in (name, entity_id, code(entity_id)))


def leaks(
    triples: Iterable[tuple[str, str, str]], names: dict[str, str], descriptions: dict[str, str]
) -> list[tuple[str, str, str, str]]:
    """The triples of which one entity's description gives the other away, each with that entity's id."""
    found = []
    for head, relation, tail in triples:
        for shown, answer in ((head, tail), (tail, head)):
            if gives_away(descriptions[shown], answer, names[answer]):
                found.append((head, relation, tail, shown))
    return found
