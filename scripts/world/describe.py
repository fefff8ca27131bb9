"""Writes the descriptions of `world`: facts that are not triples, the telling ones first.

A small encoder reads about 32 word pieces of name and description, so a description is a short list of facts:
the kind, how the thing is spelled in other languages, its code, then what CLDR knows of its conventions. No
label names a language or a place, because such a label would itself be an answer somewhere in the graph.
"""

import pickle
from collections.abc import Callable, Iterator
from functools import cache

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.localedata import exists, resolve_locale_filename
from facts import english_name, name_in, tenders

# The same for every entity. Languages that respell foreign names come late: they fill in where others agree.
SPELLINGS = tuple(
    Locale(code) for code in ("fr", "de", "es", "pl", "tr", "hu", "fi", "cs", "lv", "sq", "az", "ru", "el")
)
MOST_WORDS = 12  # leaves room for the names of neighbours, which tell more
FEWEST_WORDS = 7
# Spellings cost many word pieces, so a kind that has better facts, such as a currency's years, gets fewer.
MOST_SPELLINGS = {
    "currency": 1,
    "language": 3,
    "metazone": 2,
    "region": 4,
    "script": 3,
    "territory": 2,
    "zone": 2,
}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
KINDS = {
    "currency": "currency",
    "language": "language",
    "metazone": "time standard",
    "region": "region of the world",
    "script": "writing system",
    "territory": "territory",
    "zone": "time zone",
}


@cache
def territory_locale(territory: str) -> Locale | None:
    """The locale of a territory and the language used most there, where CLDR has that locale."""
    try:
        locale = Locale.parse(f"und_{territory}")
    except UnknownLocaleError:
        return None
    return locale if locale.territory == territory else None


@cache
def language_locale(language: str) -> Locale | None:
    return Locale(language) if exists(language) else None


def own_data(language: str) -> dict:
    """What the file of a locale itself holds.

    Through `Locale`, Babel 2.18 may follow an alias of the root locale to the words of whichever other locale
    was loaded first, so tables with aliases are read from here.
    """
    with open(resolve_locale_filename(language), "rb") as file:
        return pickle.load(file)


def conventions(locale: Locale) -> Iterator[str]:
    """How people of a locale write and reckon, in words that name neither language nor place."""
    yield f"week starts {WEEKDAYS[locale.first_week_day]}"
    yield "12-hour clock" if "a" in locale.time_formats["short"].pattern else "24-hour clock"
    order = [letter for letter in locale.date_formats["short"].pattern if letter in "dMy"]
    yield {"d": "day first", "M": "month first", "y": "year first"}[order[0]]
    # The symbols of other digits are aliases in many locales, see own_data.
    symbols = locale.number_symbols["latn"] if locale.default_numbering_system == "latn" else {}
    decimal = {",": "decimal comma", ".": "decimal point"}.get(symbols.get("decimal"))
    if decimal:
        yield decimal
    if locale.weekend_start != 5:
        yield f"weekend starts {WEEKDAYS[locale.weekend_start]}"


def local_facts(entity: str, locale: Locale | None) -> Iterator[str]:
    """The conventions of a place, and its name there where that is another than the English one."""
    if locale:
        yield from conventions(locale)
        local = name_in(entity, locale)
        if local and local != english_name(entity):
            yield f"locally {local}"


def long_code(territory: str) -> str | None:
    """The three-letter code of a territory: of several (DDR, DEU), the one that holds both its letters."""
    aliases = get_global("territory_aliases")
    codes = sorted(key for key, now in aliases.items() if now == [territory] and len(key) == 3 and key.isalpha())
    # QMM to QZZ are private use: the European Union's QUU tells nothing.
    codes = [key for key in codes if key == "QAT" or key[0] != "Q"]
    holding = [key for key in codes if key[0] == territory[0] and territory[1] in key[1:]]
    return next(iter(holding or codes), None)


def about_territory(code: str) -> Iterator[str]:
    if long_code(code):
        yield f"code {long_code(code)}"
    yield from local_facts(f"territory:{code}", territory_locale(code))


def about_language(code: str) -> Iterator[str]:
    yield f"code {code}"
    locale = language_locale(code)
    if locale:
        native = locale.languages.get(code)
        if native and native != english_name(f"language:{code}"):
            yield f"natively {native}"
        for label, table, at, placeholder in (("Monday", "days", 0, "Mon"), ("January", "months", 1, "M01")):
            words = own_data(code).get(table, {}).get("format", {}).get("wide", {})
            if isinstance(words, dict) and words.get(at, placeholder) != placeholder:
                yield f"{label} {words[at]}"
        if locale.character_order == "right-to-left":
            yield "right to left"
        if locale.plural_form.tags:
            yield f"{len(locale.plural_form.tags | {'other'})} plural forms"


def about_script(code: str) -> Iterator[str]:
    yield f"code {code}"
    full = get_global("likely_subtags").get(f"und_{code}")
    locale = language_locale(full.split("_")[0]) if full else None
    if locale:
        yield f"runs {locale.character_order.replace('-', ' ')}"
    yield "has its own digits" if code.lower() in Locale("en").number_symbols else "without digits of its own"


def about_currency(code: str) -> Iterator[str]:
    users = get_global("all_currencies").get(code, ())
    rows = [row for territory in users for row in tenders(territory) if row[0] == code]
    if rows:
        first = min(start[0] for _, start, _ in rows)
        last = None if any(end is None for *_, end in rows) else max(end[0] for *_, end in rows)
        yield f"tender {first} to {last}" if last else f"tender since {first}"
    yield f"code {code}"
    locales = [territory_locale(territory) for territory in users]
    symbols = {locale.currency_symbols.get(code, code) for locale in locales if locale} - {code}
    if symbols:
        yield f"symbol {min(symbols, key=lambda symbol: (len(symbol), symbol))}"
    decimals = get_global("currency_fractions").get(code, get_global("currency_fractions")["DEFAULT"])[0]
    yield f"{decimals} decimals"


def about_metazone(code: str) -> Iterator[str]:
    short = Locale("en").meta_zones[code].get("short", {})
    if short:
        yield f"short {short.get('generic') or short.get('standard')}"
    summer = "daylight" in Locale("en").meta_zones[code]["long"]
    yield "daylight saving known" if summer else "without daylight saving"


def about_region(code: str) -> Iterator[str]:
    yield f"code {code}"


def about_zone(code: str) -> Iterator[str]:
    """The conventions of the people who live there: the zone's own id would give its region away."""
    yield from local_facts(f"zone:{code}", territory_locale(get_global("zone_territories")[code]))


ABOUT: dict[str, Callable[[str], Iterator[str]]] = {
    "currency": about_currency,
    "language": about_language,
    "metazone": about_metazone,
    "region": about_region,
    "script": about_script,
    "territory": about_territory,
    "zone": about_zone,
}


def spellings(entity: str) -> Iterator[str]:
    """The names of the entity in the fixed set of languages, each once and none equal to the English one."""
    seen = {english_name(entity).casefold()}
    for locale in SPELLINGS:
        name = name_in(entity, locale)
        if name and name.casefold() not in seen:
            seen.add(name.casefold())
            yield name


def plain(text: str) -> str:
    """The text with ordinary blanks, without the invisible marks that steer the direction of writing."""
    shown = "".join(letter for letter in text if letter not in "\u200e\u200f\u061c")
    return " ".join(shown.split())


def describe(entity: str, allowed: Callable[[str], bool]) -> str:
    """The description: kind, spellings and facts, as many as fit, without those that `allowed` refuses."""
    kind, _, code = entity.partition(":")
    facts = [fact for fact in map(plain, ABOUT[kind](code)) if allowed(fact)]
    # Where there is next to nothing else to say, one more spelling fits.
    most = MOST_SPELLINGS[kind] + (len(facts) < 2)
    names = [name for name in map(plain, spellings(entity)) if allowed(name)][:most]
    # "natively Deutsch" says nothing new after "also Deutsch".
    facts = [fact for fact in facts if fact.partition(" ")[2] not in names]
    parts = [KINDS[kind]] + ([f"also {', '.join(names)}"] if names else [])
    words = len(" ".join(parts).split())
    for fact in facts:
        words += len(fact.split())
        if words > MOST_WORDS:
            break
        parts.append(fact)
    if words < FEWEST_WORDS:
        parts.append("few further facts recorded")
    return "; ".join(parts)
