"""What pictures show: times that differ by noise lie together, and every mark is seen."""

import pytest

from pmd.recipes.shrink.candidates import Candidate, Shrunk
from pmd.reports.pictures import points
from pmd.reports.shrink_picture import picture

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
