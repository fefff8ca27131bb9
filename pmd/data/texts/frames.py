"""The special tokens around the texts of an encoder, found by asking its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from pmd.core.errors import PmdError
from pmd.data.texts.compose import Frame

JOINT = "\nRelation:"
"""Between an entity's text and a relation, for a tokenizer that has no token to part two texts."""


class Framing(NamedTuple):
    """The frame of a tokenizer, what to put before a relation when it is tokenised, and how many tokens of the frame are a
    prompt."""

    frame: Frame
    blank: str = ""
    prompt: int = 0


def framing_of(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str] | None) -> Framing:
    """How a tokenizer frames texts: as those of a BERT, or, with prompts of queries and entities, as those of any kind."""
    if prompts is None:
        return Framing(frame_of(tokenizer))
    frame, joined = any_frame(tokenizer)
    blank = blank_or_space(tokenizer)
    spaced = any(prompts) and all(prompt.endswith(" ") for prompt in prompts)
    query, entity = (
        tokenizer(prompt.removesuffix(" "), add_special_tokens=False)["input_ids"] if prompt else []
        for prompt in prompts
    )
    prompted = replace(
        frame,
        before=(*frame.before, *entity),
        before_two=(*frame.before, *query),
        lead=blank if spaced else "",
    )
    return Framing(prompted, blank if joined else "", max(len(query), len(entity)))


def any_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[Frame, bool]:
    """The special tokens of any tokenizer, and whether two texts are joined by words, `JOINT`.

    They are its own, where it parts two texts by a token; otherwise what it puts around one text, which ends in the end of
    sequence in any case, for a decoder's last token stands for all.

    Raises:
        PmdError: if it does not put them around a text.
    """

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    body, one, two = ids("a"), tokenizer("a")["input_ids"], tokenizer("a", "a", return_token_type_ids=True)
    bert_like = None not in (tokenizer.cls_token_id, tokenizer.sep_token_id)
    if bert_like and two["input_ids"] == body + body:
        return Frame.of_bert(tokenizer.cls_token_id, tokenizer.sep_token_id), False
    before, after = _split(one, body)
    if one != [*before, *body, *after]:
        raise PmdError(
            f"teacher.model: its tokenizer writes `a` as {' '.join(tokenizer.convert_ids_to_tokens(one))}; choose another"
        )
    start, rest = _split(two["input_ids"], body)
    between, end = _split(rest, body)
    if (start, end) == (before, after) and between and (bert_like or between == after):
        first = len(before) + len(body) + len(between)
        typed = two["token_type_ids"] == [int(i >= first) for i in range(len(two["input_ids"]))]
        return Frame(tuple(before), tuple(between), tuple(after), typed), False
    if not after and tokenizer.eos_token_id is not None:
        after = [tokenizer.eos_token_id]
    return Frame(tuple(before), tuple(ids(JOINT)), tuple(after), typed=False), True


def blank_or_space(tokenizer: PreTrainedTokenizerBase) -> str:
    """`blank_before`, and a space for a tokenizer whose tokens reach over the end of a word: it reads the pieces, if not as
    it would have cut the whole."""
    try:
        return blank_before(tokenizer)
    except PmdError:
        return " "


def frame_of(tokenizer: PreTrainedTokenizerBase) -> Frame:
    """The special tokens that a tokenizer puts around one text and around two, found by tokenising such texts. A tokenizer
    that adds none gets those of BERT.

    Raises:
        PmdError: if they are not like those of a BERT.
    """
    for token in ("cls", "sep", "mask", "pad"):
        if getattr(tokenizer, f"{token}_token_id") is None:
            raise PmdError(f"encoder.name: its tokenizer has no {token} token; choose a BERT-like encoder")
    body = tokenizer("a", add_special_tokens=False)["input_ids"]
    one, two = tokenizer("a")["input_ids"], tokenizer("a", "a", return_token_type_ids=True)
    if two["input_ids"] == body + body:
        return Frame.of_bert(tokenizer.cls_token_id, tokenizer.sep_token_id)
    before, rest = _split(two["input_ids"], body)
    between, after = _split(rest, body)
    types, first = two["token_type_ids"], len(before) + len(body) + len(between)
    segments = [int(i >= first) for i in range(len(types))]
    if not between or one != [*before, *body, *after] or types not in (segments, [0] * len(types)):
        written = " ".join(tokenizer.convert_ids_to_tokens(two["input_ids"]))
        raise PmdError(f"encoder.name: its tokenizer writes two texts `a` as {written}; choose a BERT-like encoder")
    return Frame(tuple(before), tuple(between), tuple(after), typed=any(types))


def _split(ids: list[int], body: list[int]) -> tuple[list[int], list[int]]:
    """The ids before and after the first occurrence of `body`."""
    start = next((i for i in range(len(ids)) if ids[i : i + len(body)] == body), len(ids))
    return ids[:start], ids[start + len(body) :]


def blank_before(tokenizer: PreTrainedTokenizerBase) -> str:
    """What to put before a text that follows another when it is tokenised: a blank, if the tokenizer makes that a part of the
    word, as byte-level BPE does; otherwise nothing.

    Raises:
        PmdError: if the tokens of two texts, put together, are in neither case those of the whole text.
    """

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    for blank in ("", " "):
        if all(
            ids(f"{a} {b}") == ids(a) + ids(blank + b) for a, b in (("a", "b"), ("The end.", "(A 1"), ("é", "東 a"))
        ):
            return blank
    raise PmdError("encoder.name: its tokenizer makes tokens that reach over the end of a word; choose another encoder")
