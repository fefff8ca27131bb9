"""A graph to train on in seconds."""

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Towns, their countries and languages: regular enough to learn a little in seconds."""
    folder = tmp_path_factory.mktemp("towns")
    countries = [f"{name}land" for name in ("Fin", "Ice", "Green", "Swazi", "Thai", "Po")]
    towns = [f"{country} town {i}" for country in countries for i in range(6)]
    languages = [f"{country}ish" for country in countries]
    entities = [*countries, *towns, *languages]
    rows = [f"e{i:02}\t{name}\ta place or a tongue, number {i}\n" for i, name in enumerate(entities)]
    place = {name: f"e{i:02}" for i, name in enumerate(entities)}
    triples = [f"{place[c]}\tr_speaks\t{place[language]}\n" for c, language in zip(countries, languages)]
    triples += [f"{place[town]}\tr_in\t{place[town.split()[0]]}\n" for town in towns]
    (folder / "entities.tsv").write_text("".join(rows))
    (folder / "relations.tsv").write_text("r_in\tlies in\nr_speaks\tspeaks\n")
    for name, part in (("train", triples), ("valid", triples[6::9]), ("test", triples[8::9])):
        (folder / f"{name}.tsv").write_text("".join(part))
    return folder
