"""What terminals and pages would act upon is escaped where it is printed."""

import io
import json
import sys
import unicodedata
import warnings

import pytest

from pmd.core.printing import plain_output, printable
from pmd.evaluation.tables import Strong, Table, markdown
from pmd.reports.page import Part, Section, Text, write_page

EVIL = "a\x1b[31m\u202eb"
SHOWN = r"a\u001b[31m\u202eb"


def test_what_acts_is_escaped_and_letters_of_all_scripts_are_not():
    assert printable(EVIL + "\x07\x9b\x7f\ud800\t\n") == SHOWN + r"\u0007\u009b\u007f\ud800" + "\t\n"
    for letter in map(chr, range(0x20, 0x3000)):
        acts = unicodedata.category(letter) == "Cc" or unicodedata.bidirectional(letter) in (
            *("LRE", "RLE", "LRO", "RLO", "PDF"),
            *("LRI", "RLI", "FSI", "PDI"),
        )
        assert (printable(letter) != letter) == acts, hex(ord(letter))
    assert json.loads(printable(json.dumps(EVIL, ensure_ascii=False))) == EVIL


def test_tables_and_reports_escape_names(tmp_path):
    assert SHOWN in markdown(["name"], [[EVIL]]) and EVIL not in markdown(["name"], [[EVIL]])
    blocks = [Text(EVIL), Text(EVIL, "code"), Table([EVIL], [[EVIL], [Strong(EVIL)]], EVIL)]
    for file in write_page(tmp_path / "page.html", EVIL, [Part(EVIL, [Section(EVIL, blocks)], EVIL)]):
        text = file.read_text()
        assert not {"\x1b", "\u202e"} & {*text} and text.count("u202eb") >= 8


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_of_few_letters_shows_the_others_as_json_does(name, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, name, stream)
    with plain_output():
        print(json.dumps("Zürich … 𝔸", ensure_ascii=False), file=stream)
    stream.seek(0)
    line = stream.buffer.read().decode()
    assert line == r'"Z\u00fcrich \u2026 \ud835\udd38"' + "\n" and json.loads(line) == "Zürich … 𝔸"


def test_a_warning_is_a_line_without_code():
    before = warnings.formatwarning
    with plain_output():
        line = warnings.formatwarning(UserWarning(EVIL + "\nand more"), UserWarning, "file.py", 3, "code()")
    assert line == f"warning: {SHOWN} and more\n" and warnings.formatwarning is before
