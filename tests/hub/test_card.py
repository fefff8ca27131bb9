"""Cards from small made-up runs: what each family says, that its numbers are the run's, and what it keeps silent about."""

import re
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from pmd.core.results import StageResult
from pmd.hub.card import bibtex_entries, card
from pmd.hub.facts import Example, Facts, Graph
from pmd.settings.catalogue import ENCODERS, FAMILIES, INTERACTIONS, METHODS

GRAPH = Graph("towns", 48, 2, {"train": 42, "valid": 4, "test": 5})
ENVIRONMENT = {"device": "cpu", "threads": 1, "processes": 1, "python": "3.11.7", "versions": {"pmd": "0.1.0"}}


def ranking(mrr, number=10, **sides):
    summary = {"mrr": mrr, "mr": 12.5, "hits_at_1": mrr / 2, "hits_at_3": mrr, "hits_at_10": mrr + 0.1}
    summary["num_queries"] = number
    return {**summary, "optimistic": {**summary}, "pessimistic": {**summary}, **sides}


def sided(head, tail):
    return ranking((head + tail) / 2, 20, head=ranking(head), tail=ranking(tail))


def text(**changes):
    grade = {"layers": 3, "mask_rate": 0.1, "method": "pmd", "teacher": "grade4", "parameters": 977537, "dim": 16}
    grade |= {"train_seconds": 147.2, "entities_per_second": 4636.4, "metrics": {"test": sided(0.311, 0.492)}}
    teacher = {**grade, "layers": 4, "method": "none", "teacher": "none", "metrics": {"test": ranking(0.25)}}
    config = {"runs": "runs", "name": None, "seed": 0, "data": {"path": "/home/me/towns", "cache": "/home/me/cache"}}
    config |= {"encoder": {"name": "scratch"}, "evaluation": {"split": "test", "rerank_hops": 0, "rerank_weight": 0.05}}
    facts = {"repo": "user/towns-grade3", "family": "text", "stage": "grade3", "config": config, "graph": GRAPH}
    facts |= {
        "results": {"grade4": StageResult(**teacher), "grade3": StageResult(**grade)},
        "environment": ENVIRONMENT,
        "dim": 16,
        "whole": 16,
    }
    facts |= {"widths": (16,), "parameters": 977537, "size": 3_923_076, "tables": {"test": "| grade |\n|:--|\n| x |"}}
    example = Example({"head": 'the "Hub"', "relation": "lies in"}, (("Finland", 0.8125), ("Öland", -1.5)))
    return Facts(**{**facts, "example": example, **changes})


def embedding(**changes):
    config = {"seed": 0, "data": {"path": "towns"}, "model": {"interaction": "rotate", "dim": 8}}
    config |= {"evaluation": {"split": "test"}}
    one = {"interaction": "rotate", "dim": 8, "teacher": None, "released": False, "start": None, "parameters": 400}
    one |= {"epochs": 20, "best_epoch": 15, "train_seconds": 4.0, "rank_seconds": {"test": 0.0513}}
    one |= {"metrics": {"test": sided(0.6, 0.5)}}
    facts = {"repo": "user/towns", "family": "embedding", "stage": "rotate", "config": config, "graph": GRAPH}
    facts |= {
        "results": {"rotate": StageResult(**one)},
        "environment": ENVIRONMENT,
        "dim": 8,
        "whole": 8,
        "widths": (8,),
    }
    return Facts(**{**facts, "parameters": 400, "size": 1600, **changes})


def croppable(dim=8):
    plain = embedding()
    widths = {str(width): sided(width / 20, width / 16) for width in (2, 4, 8)}
    result = StageResult(**{**vars(plain.result), "metrics": {"test": widths["8"]}, "widths": {"test": widths}})
    trained = tuple(width for width in (2, 4, 8) if width <= dim)
    return replace(plain, results={"rotate": result}, dim=dim, widths=trained)


def student():
    plain = embedding()
    teacher, taught = (
        StageResult(**{**vars(plain.result), "dim": 32}),
        {"teacher": "teacher", "released": True, "start": "first-8"},
    )
    taught |= {"metrics": {"test": sided(0.4, 0.45)}}
    results = {"teacher": teacher, "taught-8": StageResult(**{**vars(plain.result), **taught})}
    return replace(plain, stage="taught-8", results=results)


def bert():
    widths = {
        "8": {"score": 0.5, "metrics": {"validation": {"accuracy": 0.5, "f1": 0.25}}, "parameters": 10},
        "32": {"score": 0.75, "metrics": {"validation": {"accuracy": 0.75, "f1": 0.625}}, "parameters": 99},
    }
    widths["32"] |= {"seconds": 0.02, "speedup": 1.0}
    result = {"task": "mrpc", "method": "med", "layers": 2, "teacher": None, "steps": 6, "widths": widths}
    config = {"task": "mrpc", "seed": 0, "data": {"path": "nyu-mll/glue"}, "model": {"name": "bert-base-uncased"}}
    config["model"]["max_length"] = 64
    facts = {
        "repo": "user/mrpc",
        "family": "bert",
        "stage": "med",
        "config": config,
        "results": {"med": StageResult(**result)},
    }
    facts |= {"environment": ENVIRONMENT, "dim": 32, "whole": 32, "widths": (8, 32), "parameters": 99, "size": 400}
    return Facts(**facts, dataset="nyu-mll/glue", base_model="bert-base-uncased")


def entries(facts):
    """Of a card's text, read back: values by split, type and arguments; the names; the YAML head."""
    read = ModelCard(card(facts))
    found = {
        (of.dataset_split, of.metric_type, *sorted((of.metric_args or {}).items())): of.metric_value
        for of in read.data.eval_results or ()
    }
    return found, read.data


def body(facts):
    """The text below the head, a paragraph a line."""
    return card(facts).split("---\n", 2)[2]


def test_a_grade():
    facts = text()
    found, data = entries(facts)
    metrics = facts.results["grade3"].metrics["test"]
    expected = {("test", key): metrics[key] for key in ("mrr", "hits_at_1", "hits_at_3", "hits_at_10", "mr")}
    expected |= {("test", "mrr", ("target", side)): metrics[side]["mrr"] for side in ("head", "tail")}
    assert found == expected and data.model_name == "towns-grade3"
    assert (data.library_name, data.pipeline_tag, data.license, data.datasets) == ("pmd", "graph-ml", None, None)
    assert {"pmd", "knowledge-graph-completion", "text", "knowledge-distillation"} <= set(data.tags)
    said = body(facts)
    assert said.strip().startswith("# towns-grade3\n\nA text bi-encoder of 3 layers")
    assert "taught by the stage `grade4` of the same run, by progressive distillation" in said
    assert "10% of the tokens masked" in said and "48 entities" in said and "42 train, 4 valid, 5 test triples" in said
    assert "weaker at (?, r, t) than at (h, r, ?): an MRR of 0.311 against 0.492 (test split)" in said
    assert "not among the first ten answers for 49.9% of 20 queries, and not the first one for 79.9%" in said
    assert "| (?, r, t) | 0.311 | 0.155 | 0.311 | 0.411 | 12.5 | 10 |" in said
    assert "977,537 parameters, 3.9 MB" in said and "4,636 entities encoded a second (cpu, 1 thread)" in said
    assert "| grade |\n|:--|\n| x |" in said and "pmd 0.1.0" in said and "- seed: 0\n- 147 s" in said


def test_how_to_load_and_what_it_answers():
    said = body(text())
    code = said[said.index("```python") : said.index("```", said.index("```python") + 3)]
    assert 'model = pmd.load("user/towns-grade3")\n' in code
    assert 'model.answer(head="the \\"Hub\\"", relation="lies in", top_k=2, all=True)' in code
    assert code.endswith("# 1 Finland 0.812\n# 2 Öland -1.500\n")
    compile(code.removeprefix("```python"), "card", "exec")


def test_a_single_embedding_model():
    found, data = entries(embedding())
    assert found["test", "mrr"] == 0.55 and found["test", "mrr", ("target", "tail")] == 0.5 and len(found) == 7
    assert "croppable" not in data.tags and "knowledge-distillation" not in data.tags
    said = body(embedding())
    assert "A RotatE embedding model of width 8" in said and "taught" not in said and "cropped" not in said
    assert INTERACTIONS["rotate"].score in said
    assert "weaker at (h, r, ?) than at (?, r, t): an MRR of 0.500 against 0.600" in said
    assert "20 epochs; the best on the validation split, epoch 15, was kept\n- 4 s" in said
    assert "0.0513 s to rank the test split (cpu, 1 thread)" in said and "1.6 kB of weights" in said


def test_every_width_of_a_croppable_model():
    facts = croppable()
    found, data = entries(facts)
    widths = facts.result.widths["test"]
    for width in (2, 4):
        for key in ("mrr", "hits_at_10"):
            assert found["test", key, ("width", width)] == widths[str(width)][key]
    assert found["test", "mrr"] == widths["8"]["mrr"] and len(found) == 7 + 4 and "croppable" in data.tags
    said = body(facts)
    assert "the leading 2, 4 dimensions were trained to stand alone" in said and "model.crop(2)" in said
    for width in (2, 4, 8):
        assert f"| {width} | {widths[str(width)]['mrr']:.3f} | {widths[str(width)]['hits_at_10']:.3f} |" in said


def test_a_crop_has_the_metrics_of_its_width():
    facts = croppable(4)
    found, _ = entries(facts)
    assert found["test", "mrr"] == facts.result.widths["test"]["4"]["mrr"] and len(found) == 7 + 2
    said = body(facts)
    assert "It is the leading 4 of the 8 dimensions that were trained." in said
    assert "stage `rotate`, cropped to width 4." in body(replace(facts, tables={"test": "| model |"}))
    assert "to rank the test split" not in said  # the whole model was timed


def test_a_width_that_was_not_measured_has_no_numbers():
    facts = replace(croppable(), dim=3, widths=(2, 3))
    found, _ = entries(facts)
    assert set(found) == {("test", "mrr", ("width", 2)), ("test", "hits_at_10", ("width", 2))}
    assert "Width 3 was not measured in the run" in body(facts) and "first ten answers" not in body(facts)
    alone = replace(embedding(), dim=3, widths=(3,))
    found, data = entries(alone)
    assert found == {} and data.model_name is None and "Width 3 was not measured" in body(alone)


def test_a_student_of_dualde():
    facts = student()
    found, data = entries(facts)
    assert found["test", "mrr", ("target", "head")] == 0.4 and "knowledge-distillation" in data.tags
    said = body(facts)
    assert "taught by the stage `teacher` of the same run (width 32), with soft labels (DualDE)" in said
    assert "its teacher learned with it; it began as `first-8`" in said


def test_a_bert():
    found, data = entries(bert())
    assert found == {
        ("validation", "accuracy"): 0.75,
        ("validation", "f1"): 0.625,
        ("validation", "accuracy", ("width", 8)): 0.5,
        ("validation", "f1", ("width", 8)): 0.25,
    }
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-classification")
    assert (data.datasets, data.base_model) == (["nyu-mll/glue"], "bert-base-uncased")
    said = body(bert())
    assert "| accuracy | 0.7500 |" in said and 'pipeline("text-classification", model="user/mrpc")' in said
    call = 'classify({"text": "the sentence1", "text_pair": "the sentence2"}, truncation=True, max_length=64)'
    assert f"\n{call}\n" in said and "training examples" not in said
    few = replace(bert(), config={**bert().config, "task": "cola", "data": {"path": "x", "train_examples": 100}})
    assert '\nclassify("the sentence", truncation=True, max_length=64)\n' in body(few)
    assert "task `cola`, at most the first 100 training examples" in body(few)
    assert "pmd.load" not in said and "0.020 s for a batch of 32" in said


@pytest.mark.parametrize(
    ("facts", "papers"),
    [
        (text(), {"pmd2024", "simkgc2022"}),
        (replace(text(), widths=(4, 16)), {"pmd2024", "simkgc2022", "med2025"}),
        (replace(text(), stage="grade4"), {"simkgc2022"}),
        (embedding(), {"rotate2019"}),
        (croppable(), {"rotate2019", "med2025"}),
        (student(), {"rotate2019", "dualde2022"}),
        (bert(), {"bert2019", "glue2019", "med2025"}),
        (replace(text(), encoder="albert"), {"albert2020", "pmd2024", "simkgc2022"}),
        (replace(text(), encoder="of_a_plugin"), {"pmd2024", "simkgc2022"}),
    ],
)
def test_the_papers_that_fit(facts, papers):
    assert {*re.findall(r"^@\w+\{(\w+),$", card(facts), re.MULTILINE)} == papers


@pytest.mark.parametrize("row", ENCODERS.values(), ids=lambda row: row.name)
def test_the_encoders_are_named(row):
    assert f"Its encoders are of the family of {row.title}. {row.note}".strip() in body(
        replace(text(), encoder=row.name)
    )


def test_every_paper_of_the_catalogue_has_an_entry():
    rows = [*ENCODERS.values(), *INTERACTIONS.values(), *(row for rows in METHODS.values() for row in rows.values())]
    keys = {row.citation for row in rows if row.citation} | {key for row in FAMILIES.values() for key in row.citations}
    for key in keys:
        (entry,) = bibtex_entries([key])
        assert entry.startswith(("@inproceedings{", "@misc{")) and f"{{{key}," in entry and entry.endswith("\n}")
        assert entry.count("{") == entry.count("}") and f"year = {{{key[-4:]}}}" in entry


@pytest.mark.parametrize("row", [*METHODS["bert"].values()], ids=lambda row: row.name)
def test_every_method_is_named(row):
    result = {**vars(bert().result), "method": row.name, "teacher": "finetune" if row.teacher else None}
    said = body(replace(bert(), results={"med": StageResult(**result)}))
    assert f"{row.summary}." in said and ("taught by the stage `finetune`" in said) == row.teacher


def test_a_method_that_the_catalogue_lacks_is_named():
    result = StageResult(**{**vars(text().result), "method": "of_a_plugin"})
    facts = replace(text(), results={**text().results, "grade3": result})
    assert "with the method `of_a_plugin`" in body(facts) and facts.citations == ["simkgc2022"]


def test_where_files_lay_is_not_published():
    said = card(text())
    assert "/home/me" not in said and "cache" not in said
    settings = said[said.index("```yaml") + 7 : said.index("```", said.index("```yaml") + 3)]
    assert yaml.safe_load(settings)["data"] == {"path": "towns"}


def test_weaknesses_of_the_protocol_are_said():
    facts = text()
    assert "equal scores there" not in card(facts) and "reranked" not in card(facts)
    tied = {**facts.result.metrics["test"], "pessimistic": ranking(0.3015)}
    config = {**facts.config, "evaluation": {"split": "test", "rerank_hops": 2, "rerank_weight": 0.05}}
    results = {**facts.results, "grade3": StageResult(**{**vars(facts.result), "metrics": {"test": tied}})}
    said = card(replace(facts, config=config, results=results))
    assert "how ties fall moves the MRR by 0.100" in said
    assert "entities within 2 hops of the query's gain 0.05. `answer` does not do that." in said


def test_licence_notes_and_hub_names():
    facts = replace(text(), license="mit", dataset="user/towns", base_model="user/bert", notes="From an atlas.")
    _, data = entries(facts)
    assert (data.license, data.datasets, data.base_model) == ("mit", ["user/towns"], "user/bert")
    assert "triples.\nFrom an atlas.\n" in body(facts)


def test_tidy_markdown():
    for facts in (text(), embedding(), croppable(), croppable(4), student(), bert()):
        said = body(facts)
        assert "\n\n\n" not in said and "None" not in said and "{" not in said.split("```yaml")[0].split("```")[-1]
        for line in said.splitlines():
            assert line == line.rstrip()


@pytest.mark.parametrize("facts", [embedding(), croppable(), text()], ids=["embedding", "croppable", "text"])
def test_a_card_on_a_branch_loads_that_branch(facts):
    plain, branch = card(facts), card(replace(facts, revision="small"))
    assert "revision" not in plain
    assert branch.replace(', revision="small"', "").replace(" --revision small", "") == plain
    calls = re.findall(rf'\w+\("{facts.repo}"[^)]*\)|pmd answer {facts.repo}[^`]*', branch)
    assert len(calls) >= 3 and all("small" in call for call in calls)


def test_the_card_of_ones_own_interaction_names_the_module(monkeypatch):
    assert "not part of it" not in card(embedding())
    monkeypatch.setitem(
        INTERACTIONS, "mine", replace(INTERACTIONS["transe"], name="mine", implementation="my_code:Mine")
    )
    facts = embedding()
    said = card(replace(facts, results={"rotate": StageResult(**{**vars(facts.result), "interaction": "mine"})}))
    assert "the module of `my_code:Mine`, which is not part of it and registers `mine` in its catalogue" in said
    assert "import my_code\nimport pmd" in said and "`python FILE.py answer user/towns --head" in said
