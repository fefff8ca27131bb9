"""Folders of KG-BERT and SimKGC: what they become, and what broken ones say."""

from pmd.data.graphs.sources import load_graph

from ...says import says

TRIPLES = {"train.tsv": "01\t_is_a\t02\n", "dev.tsv": "02\t_is_a\t01\n", "test.tsv": "02\t_is_a\t02\n"}


def test_kgbert_with_name_and_gloss_in_one_text(tmp_path, write_files):
    texts = {
        "entity2text.txt": '09\tunused, in no triple\n02\tcat, a pet; "meow", it says\n01\tdog\n',
        "relation2text.txt": "_is_a\tis a\n",
    }
    graph = load_graph(write_files(tmp_path / "kgbert", TRIPLES | texts))
    assert graph.entity_ids == ["02", "01"]
    assert graph.entity_names == ["cat", "dog"]
    assert graph.entity_descriptions == ['a pet; "meow", it says', ""]
    assert graph.relation_names == ["is a"]
    assert [graph.split(name).tolist() for name in graph.split_names] == [
        [[1, 0, 0]],
        [[0, 0, 1]],
        [[0, 0, 0]],
    ]


def test_commas_in_a_few_names_begin_no_description(tmp_path, write_files):
    texts = {"entity2text.txt": "01\tWashington, D.C.\n02\tParis\n03\tRome\n", "relation2text.txt": "_is_a\tis a\n"}
    graph = load_graph(write_files(tmp_path / "FB13", TRIPLES | texts))
    assert graph.entity_names == ["Washington, D.C.", "Paris"] and graph.entity_descriptions == ["", ""]


def test_kgbert_with_long_texts_and_lists(tmp_path, write_files):
    texts = {
        "entity2text.txt": "01\tDog, the\n02\tCat\n03\tunused\n",
        "entity2textlong.txt": "02\ta  pet\twith a tab\n01\tbarks\n",
        "relation2text.txt": "_is_a\tis a\n",
        "entities.txt": "01\n02\n03\n",
        "relations.txt": "_is_a\n",
    }
    graph = load_graph(write_files(tmp_path / "kgbert", TRIPLES | texts))
    assert graph.entity_ids == ["01", "02", "03"]  # the list counts, used or not
    assert graph.entity_names == ["Dog, the", "Cat", "unused"]
    assert graph.entity_descriptions == ["barks", "a pet with a tab", ""]


def test_kgbert_errors_name_file_and_line(tmp_path, write_files, load_error):
    texts = {"entity2text.txt": "01\tdog\n02\n", "relation2text.txt": "_is_a\tis a\n"}
    folder = write_files(tmp_path / "kgbert", TRIPLES | texts)
    assert says(load_error(folder), f"{folder}/entity2text.txt, line 2: …'02'…name…desc")
    write_files(folder, {"entity2text.txt": "01\tdog\n02\tcat\n01\tdog\n"})
    assert says(load_error(folder), f"{folder}/entity2text.txt, line 3: …'01'…line 1")
    write_files(folder, {"entity2text.txt": "01\tdog\n03\tcat\n"})
    assert says(load_error(folder), f"{folder}/train.tsv, line 1: …'02'…tail")
    write_files(folder, {"entities.txt": "01\n02\n"})
    assert says(load_error(folder), f"{folder}/entities.txt, line 2: …'02'…name…desc")
    write_files(folder, {"entity2text.txt": "01\tdog\n\tcat\n"})
    assert says(load_error(folder), f"{folder}/entity2text.txt, line 2: …id…tab")
    write_files(folder, {"entity2text.txt": "01\tdog\n02\tcat\n", "relation2text.txt": "_is_b\tis b\n"})
    assert says(load_error(folder), "'_is_a'…'_is_b'")
    write_files(folder, {"relation2text.txt": "_is_a\tis a\n"})
    (folder / "dev.tsv").unlink()
    assert says(load_error(folder), f"{folder}: no valid.tsv…train, test")


def test_simkgc_wordnet(tmp_path, write_files):
    files = {name.replace("dev", "valid").replace(".tsv", ".txt"): text for name, text in TRIPLES.items()}
    files["wordnet-mlj12-definitions.txt"] = "01\t__domestic_dog_NN_1\tbarks; it\n02\t__cat_NN_2\tmeows\n"
    graph = load_graph(write_files(tmp_path / "WN18RR", files))
    assert graph.entity_names == ["domestic dog", "cat"]
    assert graph.entity_descriptions == ["barks; it", "meows"]
    assert (graph.relation_ids, graph.relation_names) == (["_is_a"], ["is a"])


def test_simkgc_freebase(tmp_path, write_files):
    files = {name.replace("dev", "valid").replace(".tsv", ".txt"): text for name, text in TRIPLES.items()}
    files["FB15k_mid2name.txt"] = "01\tNew_York\n02\tParis\n03\tUnused\n"
    files["FB15k_mid2description.txt"] = '01\t"A \\"big\\" city.\\nIt never sleeps."@en\n'
    graph = load_graph(write_files(tmp_path / "FB15k237", files))
    assert graph.entity_names == ["New York", "Paris"]
    assert graph.entity_descriptions == ['A "big" city. It never sleeps.', ""]
