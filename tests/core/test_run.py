"""A run folder: what it holds comes back, and what is broken is named."""

import pytest

from pmd.core.errors import PmdError
from pmd.core.run import Run


def test_results_come_back_by_stage(tmp_path):
    run = Run(tmp_path)
    assert run.results == {}
    run.add_result("first", {"epochs": 3})
    run.add_result("second", {"epochs": 1})
    assert run.results == {"first": {"epochs": 3}, "second": {"epochs": 1}}
    Run(tmp_path, main=False).add_result("third", {})
    assert [*run.results] == ["first", "second"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", r"results.json' cannot be read \(.*\); restore it"), ("[5]", r"holds no results by stage but \[5\]")],
)
def test_broken_results_are_named(text, message, tmp_path):
    (tmp_path / "results.json").write_text(text)
    for use in (lambda run: run.results, lambda run: run.add_result("second", {})):
        with pytest.raises(PmdError, match=message):
            use(Run(tmp_path))
