"""Reads the triples of `world` out of the CLDR tables that Babel carries.

Only entities with an English name in CLDR are used: a graph for text encoders is of no use where the text is
a bare code. Every relation is a table of CLDR or follows from one by the rule its function states.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import cache

from babel import Locale
from babel.core import get_global

RELATIONS = {
    "also_written_in": "also written in script",
    "currency": "has currency",
    "former_currency": "had former currency",
    "main_territory": "language mainly spoken in territory",
    "official_language": "has official language",
    "regional_language": "has regional official language",
    "replaced_by": "currency replaced by",
    "script_language": "script mainly used for language",
    "script_territory": "script mainly found in territory",
    "spoken_language": "has spoken language",
    "territory_region": "territory lies mainly in region",
    "written_in": "mainly written in script",
    "zone_meta": "observes time",
    "zone_region": "time zone lies in region",
    "zone_territory": "time zone lies in territory",
}

# The first part of an Olson id is a region for these only: "Indian" or "Atlantic" is an ocean.
REGIONS = {
    "Africa": "002",
    "America": "019",
    "Asia": "142",
    "Australia": "009",
    "Europe": "150",
    "Pacific": "009",
}

# A language that fewer people speak is no fact that says much about a territory.
SPOKEN_PERCENT = 1.0

# The euro was tender for three years beside the currencies that it replaced.
CHANGEOVER_DAYS = 1200

Triple = tuple[str, str, str]
ENGLISH = Locale("en")


@cache
def zone_keys() -> dict[str, list[str]]:
    """Every zone with the ids it is filed under: CLDR's tables keep some zones under an older id."""
    keys = {zone: [zone] for zone in get_global("zone_territories")}
    for alias, zone in sorted(get_global("zone_aliases").items()):
        if zone in keys:
            keys[zone].append(alias)
    return keys


def zone_city(zone: str, locale: Locale) -> str | None:
    """The exemplar city of a zone as `locale` writes it, where the locale has its own form."""
    for key in zone_keys()[zone]:
        city = locale.time_zones.get(key, {}).get("city")
        if city:
            return city
    return None


def meta_name(meta: str, locale: Locale) -> str | None:
    """The name of a meta zone: the one without "standard" where there is one."""
    long = locale.meta_zones.get(meta, {}).get("long", {})
    return long.get("generic") or long.get("standard")


def name_in(entity: str, locale: Locale) -> str | None:
    """The display name that `locale` has for the entity, or None."""
    kind, _, code = entity.partition(":")
    if kind == "zone":
        return zone_city(code, locale)
    if kind == "metazone":
        return meta_name(code, locale)
    tables = {
        "territory": locale.territories,
        "region": locale.territories,
        "language": locale.languages,
        "script": locale.scripts,
        "currency": locale.currencies,
    }
    return tables[kind].get(code)


@cache
def english_name(entity: str) -> str | None:
    """The English name of the entity, or None for one that CLDR does not name."""
    name = name_in(entity, ENGLISH)
    if name is None and entity.startswith("zone:"):
        # CLDR leaves a city out where its English name is the last part of the Olson id.
        return entity.rsplit("/", 1)[-1].replace("_", " ")
    return name


def territory_languages() -> Iterator[Triple]:
    """Official, regional and merely spoken languages; a language stands in the strongest of the three."""
    ranks = {"official": 0, "de_facto_official": 0, "official_regional": 1}
    relations = ("official_language", "regional_language", "spoken_language")
    for territory, languages in get_global("territory_languages").items():
        strongest: dict[str, int] = {}
        for tag, info in languages.items():
            status = info["official_status"]
            if status is None and info["population_percent"] < SPOKEN_PERCENT:
                continue
            language = tag.split("_")[0]
            strongest[language] = min(ranks.get(status, 2), strongest.get(language, 2))
        for language, rank in strongest.items():
            yield f"territory:{territory}", relations[rank], f"language:{language}"


def language_scripts() -> Iterator[Triple]:
    """Main script and territory of each language, and the other scripts that CLDR knows it in."""
    likely = get_global("likely_subtags")
    main: dict[str, str] = {}
    for tag, full in likely.items():
        language, script, territory = full.split("_")[:3]
        if tag == language:
            main[language] = script
            yield f"language:{language}", "written_in", f"script:{script}"
            yield f"language:{language}", "main_territory", f"territory:{territory}"
    other = {(tag.split("_")[0], full.split("_")[1]) for tag, full in likely.items()}
    for languages in get_global("territory_languages").values():
        other.update(tuple(tag.split("_")) for tag in languages if "_" in tag)
    for language, script in other:
        if len(script) == 4 and main.get(language, script) != script:
            yield f"language:{language}", "also_written_in", f"script:{script}"


def scripts() -> Iterator[Triple]:
    """The language and the territory that a script makes one think of first."""
    for tag, full in get_global("likely_subtags").items():
        undetermined, _, script = tag.partition("_")
        if undetermined == "und" and len(script) == 4 and script.isalpha():
            language, _, territory = full.split("_")[:3]
            yield f"script:{script}", "script_language", f"language:{language}"
            yield f"script:{script}", "script_territory", f"territory:{territory}"


def tenders(territory: str) -> list[tuple]:
    """The currencies that are or were legal tender in the territory, as (code, start, end), oldest first."""
    table = get_global("territory_currencies")[territory]
    rows = [(code, start, end) for code, start, end, tender in table if tender and start]
    return sorted(rows, key=lambda row: (row[1], row[2] or (9999,), row[0]))


def successor(rows: list[tuple], start: date, end: date) -> str | None:
    """Of the currencies brought in later that outlived this one, the one that came nearest to its end."""
    near = []
    for code, first, last in rows:
        gap = abs((date(*first) - end).days)
        if date(*first) > start and (last is None or date(*last) > end) and gap <= CHANGEOVER_DAYS:
            near.append((gap, code))
    return min(near)[1] if near else None


def currencies() -> Iterator[Triple]:
    """Current and former legal tender, and which currency took over from which."""
    tables = {territory: tenders(territory) for territory in get_global("territory_currencies")}
    alive = {code for rows in tables.values() for code, _, end in rows if end is None}
    for territory, rows in tables.items():
        current = {code for code, _, end in rows if end is None}
        for code, start, end in rows:
            relation = "currency" if code in current else "former_currency"
            yield f"territory:{territory}", relation, f"currency:{code}"
            # A currency that is tender elsewhere was given up here, but nothing replaced it.
            if code not in alive:
                after = successor([row for row in rows if row[0] != code], date(*start), date(*end))
                if after:
                    yield f"currency:{code}", "replaced_by", f"currency:{after}"


def zones() -> Iterator[Triple]:
    """Territory, meta zone and region of each time zone, and the region with most zones of a territory."""
    metas = get_global("meta_zones")
    regions: dict[str, Counter] = {}
    for zone, territory in get_global("zone_territories").items():
        yield f"zone:{zone}", "zone_territory", f"territory:{territory}"
        meta = next((metas[key] for key in zone_keys()[zone] if key in metas), None)
        if meta:
            yield f"zone:{zone}", "zone_meta", f"metazone:{meta}"
        region = REGIONS.get(zone.split("/")[0])
        if region:
            yield f"zone:{zone}", "zone_region", f"region:{region}"
            regions.setdefault(territory, Counter())[region] += 1
    for territory, counts in regions.items():
        region, count = counts.most_common(1)[0]
        # Without a clear majority (Spain has one zone each in Europe and Africa) the zones settle nothing.
        if 2 * count > sum(counts.values()):
            yield f"territory:{territory}", "territory_region", f"region:{region}"


def usable(entity: str) -> bool:
    """True for a named entity that is a thing in the world: no placeholder codes, no fixed-offset zones."""
    kind, _, code = entity.partition(":")
    if kind == "zone" and code.startswith("Etc/"):
        return False
    if kind == "territory" and (len(code) != 2 or code in ("XA", "XB", "ZZ")):
        return False
    if code in ("und", "mul", "mis", "zxx", "Zyyy", "Zzzz", "Zxxx", "Zinh", "XXX"):
        return False
    return english_name(entity) is not None


def triples() -> list[Triple]:
    """Every triple of the graph, once each, sorted."""
    found = set()
    for source in (territory_languages, language_scripts, scripts, currencies, zones):
        found.update(source())
    return sorted(row for row in found if usable(row[0]) and usable(row[2]))
