import pmd.core.bars
from pmd.core.bars import SOON, Bar


def test_a_slow_training_says_once_how_fast_it_is(monkeypatch, capsys):
    """One step each four seconds, none of whose losses are known."""
    clock = [0.0]
    monkeypatch.setattr(pmd.core.bars.time, "monotonic", lambda: clock[0])
    bar = Bar(100, 0, "teacher", shown=True)
    for step in range(1, 10):
        clock[0] += 0.4 * SOON
        bar.tick(step)
    assert capsys.readouterr().err == "teacher  3/100  0.25 steps/s  6 min left\n"
    bar.show(10, {"loss": 1.5})
    assert capsys.readouterr().err == "teacher  10/100  0.28 steps/s  5 min left  loss 1.500\n"


def test_a_fast_training_says_nothing_before_a_tenth_of_the_steps(capsys):
    bar = Bar(100, 0, "teacher", shown=True)
    for step in range(1, 10):
        bar.tick(step)
    assert capsys.readouterr().err == ""


def test_work_without_steps_says_in_a_log_how_far_it_is_if_it_is_long(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(pmd.core.bars.time, "monotonic", lambda: clock[0])
    bar = Bar(40, 0, "encoding", shown=True, unit="blocks")
    with bar:
        for done in range(1, 41):
            clock[0] += SOON / 4
            bar.count(done)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "encoding  5/40  0.40 blocks/s  88 s left" and lines[-1] == "encoding  40/40  0.40 blocks/s"
    assert [line.split()[1] for line in lines[1:]] == [f"{done}/40" for done in range(8, 41, 4)]
