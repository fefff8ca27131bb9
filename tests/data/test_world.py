"""The shipped graph `world`: its sizes, its splits, that no text gives an answer away, and its rebuild."""

import csv
import hashlib
import sys
from collections import Counter
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from pmd.core.errors import PmdError

ROOT = Path(__file__).resolve().parents[2]
WORLD = ROOT / "pmd" / "data" / "world"
sys.path.insert(0, str(ROOT / "scripts" / "world"))  # scripts are no package

import build  # noqa: E402
from leak import gives_away, leaks, mentions  # noqa: E402

SPLITS = ("train", "valid", "test")
FILES = ("entities.tsv", "relations.tsv", "test.tsv", "train.tsv", "valid.tsv")


def babel_version():
    try:
        return metadata.version("Babel")
    except metadata.PackageNotFoundError:
        return None


needs_babel = pytest.mark.skipif(
    babel_version() != build.BABEL,
    reason=f"rebuilding world needs Babel {build.BABEL}, found {babel_version()}",
)


def read(name):
    with open(WORLD / name, encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


@pytest.fixture(scope="module")
def triples():
    return {split: read(f"{split}.tsv") for split in SPLITS}


@pytest.fixture(scope="module")
def entities():
    return read("entities.tsv")


@pytest.fixture(scope="module")
def every(triples):
    return [triple for split in SPLITS for triple in triples[split]]


def test_sizes(triples, entities, every):
    assert len(entities) >= 1500
    assert 3000 <= len(every) <= 6500
    assert len(read("relations.tsv")) >= 8
    assert sum((WORLD / name).stat().st_size for name in FILES) <= 1_000_000
    assert 0.8 < len(triples["train"]) / len(every) < 0.9
    assert len(triples["valid"]) >= 150
    assert len(triples["test"]) >= 400


def test_files_are_plain_tsv():
    for name in FILES:
        content = (WORLD / name).read_bytes()
        assert content.endswith(b"\n")
        assert b"\r" not in content
        assert not content.startswith(b"\xef\xbb\xbf")
        width = {"entities.tsv": 3, "relations.tsv": 2}.get(name, 3)
        assert all(len(row) == width and all(row) for row in read(name))


def test_entities_and_relations_are_those_of_the_triples(entities, every):
    ids = [row[0] for row in entities]
    assert ids == sorted({end for head, _, tail in every for end in (head, tail)})
    assert [row[0] for row in read("relations.tsv")] == sorted({relation for _, relation, _ in every})


def test_everything_occurs_in_train(triples, entities):
    trained = {part for triple in triples["train"] for part in triple}
    assert {row[0] for row in entities} <= trained
    assert {row[0] for row in read("relations.tsv")} <= trained


def test_every_split_but_train_holds_every_common_relation(triples, every):
    common = {relation for relation, count in Counter(r for _, r, _ in every).items() if count >= 60}
    assert common <= {relation for _, relation, _ in triples["test"]}


def test_no_duplicates_and_disjoint_splits(every):
    assert len(set(every)) == len(every)


def test_no_pair_of_entities_in_two_splits(triples):
    pairs = {split: {frozenset((head, tail)) for head, _, tail in triples[split]} for split in SPLITS}
    assert not pairs["train"] & pairs["test"]
    assert not pairs["train"] & pairs["valid"]
    assert not pairs["valid"] & pairs["test"]


def test_no_entity_is_its_own_neighbour(every):
    assert all(head != tail for head, _, tail in every)


def test_names_are_unique_within_a_kind(entities):
    count = Counter((entity.partition(":")[0], name) for entity, name, _ in entities)
    assert [key for key, number in count.items() if number > 1] == []


def test_descriptions_have_a_fit_length(entities):
    words = sorted(len(text.split()) for _, _, text in entities)
    assert words[0] >= 3
    assert words[-1] <= 24
    assert 8 <= words[len(words) // 2] <= 22


def test_descriptions_tell_entities_apart(entities):
    texts = Counter(text for _, _, text in entities)
    assert max(texts.values()) <= 2


def test_no_description_gives_an_answer_away(every, entities):
    names = {entity: name for entity, name, _ in entities}
    texts = {entity: text for entity, _, text in entities}
    assert leaks(every, names, texts) == []


@pytest.mark.parametrize("end", [0, 2])
@pytest.mark.parametrize("form", ["name", "id", "code"])
def test_a_planted_leak_is_found(triples, entities, end, form):
    names = {entity: name for entity, name, _ in entities}
    texts = {entity: text for entity, _, text in entities}
    triple = triples["test"][0]
    shown, answer = triple[end], triple[2 - end]
    said = {"name": names[answer].upper(), "id": answer, "code": answer.partition(":")[2].lower()}[form]
    texts[shown] += f"; near {said}, they say"
    assert (*triple, shown) in leaks(triples["test"], names, texts)


def test_mentions_wants_whole_words():
    assert mentions("also Österreich; code AUT", "aut")
    assert not mentions("also Niger; code NER", "nig")
    assert mentions("paid in US dollar (old)", "US Dollar (old)")
    assert not gives_away("also Nigeria", "territory:NE", "Niger")


def test_some_facts_are_there(every):
    known = set(every)
    for fact in (
        ("territory:AT", "official_language", "language:de"),
        ("territory:AT", "currency", "currency:EUR"),
        ("territory:AT", "former_currency", "currency:ATS"),
        ("currency:ATS", "replaced_by", "currency:EUR"),
        ("zone:Europe/Vienna", "zone_territory", "territory:AT"),
        ("zone:Europe/Vienna", "zone_meta", "metazone:Europe_Central"),
        ("territory:AT", "territory_region", "region:150"),
        ("language:ru", "written_in", "script:Cyrl"),
    ):
        assert fact in known


def test_readme_counts_are_those_of_the_files(triples):
    readme = (WORLD / "README.md").read_text(encoding="utf-8")
    for relation, name in read("relations.tsv"):
        train, valid, test = (sum(r == relation for _, r, _ in triples[split]) for split in SPLITS)
        assert f"| `{relation}` | {name} | {train} | {valid} | {test} |" in readme


def test_licence_is_shipped():
    text = (WORLD / "LICENSE.cldr.txt").read_text(encoding="utf-8")
    assert text.startswith("UNICODE LICENSE V3")
    assert "SPDX-License-Identifier: Unicode-3.0" in text


@needs_babel
def test_rebuild_gives_the_same_bytes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "build", cache(build.build))
    assert build.main(["--out", str(tmp_path)]) == 0
    for name in FILES:
        assert hashlib.sha256((tmp_path / name).read_bytes()).digest() == (
            hashlib.sha256((WORLD / name).read_bytes()).digest()
        ), name
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert build.main(["--check", "--out", str(tmp_path)]) == 0
    with open(tmp_path / "valid.tsv", "ab") as file:
        file.write(b"\n")
    assert build.main(["--check", "--out", str(tmp_path)]) == 1
    assert "differs: valid.tsv" in capsys.readouterr().out


@needs_babel
def test_another_version_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(build, "BABEL", "1.0")
    with pytest.raises(PmdError, match=r"needs Babel 1\.0"):
        build.require_babel()
    assert build.main(["--check"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_field_with_a_tab_is_refused():
    with pytest.raises(PmdError, match="tab"):
        build.table([("a", "b\tc")])
