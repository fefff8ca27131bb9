"""What pictures show: times that differ by noise lie together, and every mark is seen."""

import pytest

from pmd.recipes.shrink.candidates import Candidate, Shrunk
from pmd.reports.pictures import marks, numbered, points
from pmd.reports.shrink_picture import picture
from pmd.reports.study import study_sections

pytest.importorskip("matplotlib")


def candidate(milliseconds, **facts):
    made_of = {"part": "text", "stage": "grade2", "layers": 2, "width": 16, "encoders": "fp32", "vectors": "fp32"}
    return Candidate(**{**made_of, "keeps": 1.0, "megabytes": 2.0, "mrr": 0.8, **facts, "milliseconds": milliseconds})


@pytest.mark.parametrize(("times", "least", "most"), [((16.12, 16.15), 0.9, 1.1), ((2.0, 4.0), 2 / 3, 4 / 3)])
def test_an_axis_of_costs_is_not_filled_by_noise(times, least, most, tmp_path, pictures):
    rows = [candidate(times[0], mrr=0.7), candidate(times[1])]
    picture(tmp_path / "shrink.png", Shrunk(tmp_path, {"stage": "teacher", "mrr": 0.8}, rows, rows[0], {}, {}))
    points(tmp_path / "latency.svg", {"a": [(times[0], 0.1)], "b": [(times[1], 0.2)]}, "ms", "MRR")
    points(tmp_path / "option.svg", {"a": [(times[0], 0.1), (times[1], 0.2)]}, "option", "MRR", joined=False)
    axes = [pictures[0].axes[1], pictures[1].axes[0], pictures[2].axes[0]]
    middle, margins = sum(times) / 2, [0.05, 0.12, 0.12]
    spans = [(least * middle, most * middle)] * 2 + [times]  # an option has no noise
    for axis, (low, high), margin in zip(axes, spans, margins):
        aside = margin * (high - low)
        assert axis.get_xlim() == pytest.approx((low - aside, high + aside))


def test_marks_of_equal_values_are_all_seen(tmp_path, pictures):
    values = {"for the head": [0.99, 0.5, 0.0], "for the tail": [1.0, 0.5, 0.0]}
    marks(tmp_path / "directions.svg", ["a", "b", "c"], values, "MRR")
    marks(tmp_path / "nothing.svg", ["a"], {"share": [0.0]}, "share")
    axis = pictures[0].axes[0]
    assert axis.get_xlim() == (0, 1.05) and pictures[1].axes[0].get_xlim() == (0, 1)
    drawn = {line.get_label(): line for line in axis.lines if line.get_label() in values}
    assert {name: [*line.get_xdata()] for name, line in drawn.items()} == values
    assert [*drawn["for the head"].get_ydata()] == pytest.approx([-0.15, 0.85, 1.85])  # above: the first row is on top
    assert [*drawn["for the tail"].get_ydata()] == pytest.approx([0.15, 1.15, 2.15])
    assert not any(line.get_clip_on() for line in drawn.values())


def test_a_single_point_is_no_picture(tmp_path):
    drawn = []
    draw = lambda path, series: drawn.append(series)  # noqa: E731
    assert numbered(tmp_path / "cost", {"a": [(784, 0.4)]}, "MRR against parameters", draw) == [] == drawn
    for series in ({"a": [(784, 0.4)], "b": [(392, 0.2)]}, {"a": [(784, 0.4), (392, 0.2)]}):
        (made,) = numbered(tmp_path / "cost", series, "MRR against parameters", draw)
        assert made.file.name == "cost-1.svg" and drawn.pop() == series


@pytest.mark.parametrize(("values", "titles"), [([0.4], []), ([0.4, 0.5], ["History", "Options"])])
def test_a_study_of_one_trial_has_nothing_to_compare(values, titles, tmp_path):
    trials = [
        {
            "trial": i,
            "value": value,
            "state": "complete",
            "seconds": 1,
            "values": {"lr": 0.1 * (i + 1)},
            "valid": {},
            "reason": "",
        }
        for i, value in enumerate(values)
    ]
    study = {"metric": "mrr", "judged": "MRR", "space": {"lr": "0.1 to 1"}, "trials": trials, "importance": {}}
    sections = study_sections(study, lambda name: tmp_path / name)
    assert [section.title for section in sections] == ["Study", "Trials", *titles]
