"""The page in a browser, where there is one: names while typing, answers, why, and the picture."""

import shutil

import pytest

import pmd
from pmd.serve.app import make_app
from pmd.serve.service import Service

from .serving import serving

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on the PATH")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(executable_path=program, args=["--no-sandbox"])


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_a_question_is_asked_by_keyboard(browser, student, width, scheme):
    model = pmd.load(student)
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    wrong, elsewhere = [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    with serving(make_app(Service(model), seconds=20, local=True)) as port:
        here = f"http://127.0.0.1:{port}"
        page.on("request", lambda request: request.url.startswith((here, "data:")) or elsewhere.append(request.url))
        page.goto(here)
        page.wait_for_selector("#relation option", state="attached")
        page.locator("#entity").press_sequentially("hu")
        page.wait_for_selector("#names li")
        for key in ("ArrowDown", "Enter", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector(".answer")
        asked = model.answer(head="Hub", relation="r0", top_k=10)
        names = [answer.name or answer.id for answer in (*asked.known, *asked.answers)]
        shown = page.locator(".answer summary > span:first-child").all_inner_texts()
        assert [text.split("train")[0].strip() for text in shown] == names
        assert "head=e7" in page.url and page.locator("#picture g.node").count() == 8 + 3  # facts and proposals
        page.locator(".answer summary").first.press("Enter")
        page.wait_for_selector(".why li")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, back.strip("rgb()").split(","))) < 200) == (scheme == "dark")

        page.locator("#entity").fill("nobody")
        page.keyboard.press("Enter")
        page.locator("#error", has_text="no entity 'nobody'").wait_for()
        page.goto(here + "/docs")
        page.wait_for_selector("h2")
        assert "GET /answer" in page.locator("h2").all_inner_texts()
    page.close()
    assert elsewhere == [] and [line for line in wrong if "422" not in line] == []


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_two_entities_and_what_is_missing(browser, sure_student, width, scheme):
    model = pmd.load(sure_student)
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    answers = page.locator(".answer summary > span:first-child")
    with serving(make_app(Service(model), seconds=20, local=True)) as port:
        here = f"http://127.0.0.1:{port}"
        page.goto(here)
        page.locator("#relation option", has_text="relation 1").wait_for(state="attached")
        assert not page.locator("#other").is_visible() and page.locator("#target").is_visible()
        page.locator("#fact").press("ArrowRight")
        assert page.locator("#pair").get_attribute("aria-selected") == "true"
        assert page.locator("#other").is_visible() and not page.locator("#target").is_visible()
        page.locator("#entity").fill("e1")
        page.locator("#other").press_sequentially("e4")
        page.wait_for_selector("#others li")
        for key in ("ArrowDown", "Enter", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector(".answer")
        relations = model.relations(head="e1", tail="e4", top_k=10)
        ordered = sorted(relations, key=lambda answer: not answer.known)  # known ones stand first
        facts = [f"{relations.ends(each)[0][1]} — {each.name} → {relations.ends(each)[1][1]}" for each in ordered]
        assert [
            text.split("train")[0].split("valid")[0].split("test")[0].strip() for text in answers.all_inner_texts()
        ] == facts
        assert "head=e1&tail=e4" in page.url

        page.locator("#relation").select_option("r1")
        page.locator("form button").click()
        page.locator("#asked", has_text="relation 1").wait_for()
        verdict = model.classify(head="e1", relation="r1", tail="e4")
        assert answers.first.inner_text().startswith("holds" if verdict.holds else "does not hold")
        assert f"{100 * verdict.confidence:.1f} % sure" in page.locator("#answers").inner_text()

        page.locator("#missing").click()
        page.locator("#entity").fill("e3")
        assert page.locator("#relation").input_value() == ""  # any
        page.locator("#entity").press("Enter")
        page.locator("#asked", has_text="What is missing").wait_for()
        suggestions = model.suggest(10, about=["e3"])
        assert answers.all_inner_texts() == [
            f"{each.head[1]} — {each.relation[1]} → {each.tail[1]}" for each in suggestions
        ]
        page.locator(".answer summary").first.press("Enter")
        page.wait_for_selector(".why li")
        assert "about=e3" in page.url and page.locator("#picture g.proposed").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.goto(f"{here}/?head=e1&tail=e4&relation=relation 1")  # a link, by name
        page.locator("#asked", has_text="relation 1").wait_for()
        page.goto(f"{here}/?about=e3&relation=nothing")
        page.locator("#error", has_text="no relation 'nothing'").wait_for()
    page.close()
    assert wrong == []
