"""The JSON API by a real client: what Python answers, whatever comes at once, and one line for what cannot be answered."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

import pmd
from pmd.core.errors import PmdError
from pmd.serve.app import make_app
from pmd.serve.command import ServeConfig, listen, serve
from pmd.serve.connections import TimedConnection
from pmd.serve.limits import MAX_BATCH, MAX_BYTES
from pmd.serve.service import Service

from ..tiny import tiny_graph
from .serving import Client, serving


@pytest.fixture(scope="module")
def model(student):
    return pmd.load(student)


@pytest.fixture(scope="module")
def port(model):
    service = Service(model)
    service.warm_up()
    with serving(make_app(service, seconds=20, local=True)) as port:
        yield port


@pytest.fixture
def client(port):
    return Client(port)


def test_it_answers_as_python_does(client, model):
    both = model.answer(head="e7", relation="near", all=True, types="off").to_dict()
    assert client.get("/answer", head="e7", relation="near", all=True, types="off") == (200, both)
    options = {"top_k": 4, "new": True}
    expected = model.answer(head="e7", relation="near", **options).to_dict()
    assert client.get("/answer", head="e7", relation="near", tail="", **options) == (200, expected)
    asked = [{"head": "e7", "relation": "near"}, {"text": "a town", "relation": "r1", "target": "head"}]
    status, answer = client.post("/answer", {"questions": asked, **options})
    ids = [found["id"] for found in answer["results"][0]["answers"]]
    assert status == 200 and ids == [found["id"] for found in expected["answers"]]
    assert [found["target"] for found in answer["results"]] == ["tail", "head"]

    triple = {"head": "e0", "relation": "r1", "tail": "Hub"}
    expected = model.classify(**triple).to_dict()
    assert client.get("/classify", **triple) == (200, json.loads(json.dumps(expected)))
    assert client.post("/classify", {"questions": [triple] * 2})[1]["results"][1]["known"] == ["train"]
    ends = {"head": "e0", "tail": "Hub"}
    expected = model.relations(**ends).to_dict()
    assert client.get("/relations", **ends) == (200, expected)
    assert (
        client.post("/relations", {"questions": [ends], "top_k": 2})[1]["results"][0]["relations"]
        == expected["relations"][:2]
    )
    assert client.get("/why", **triple, count=2) == (
        200,
        json.loads(json.dumps(model.why(**triple, count=2).to_dict())),
    )


def test_it_suggests_as_python_does(client, sure_student, model):
    sure = pmd.load(sure_student)
    with serving(make_app(Service(sure), seconds=20, local=True)) as port:
        asked = Client(port)
        for relation in (None, "relation 1"):
            only = {} if relation is None else {"relation": relation}
            expected = sure.suggest(4, about=["e3"], relations=relation and [relation])
            status, answer = asked.get("/suggest", entity="E3", top_k=4, **only)
            assert status == 200 and answer["entity"]["id"] == "e3" and len(expected) == 4
            assert answer["suggestions"] == json.loads(json.dumps([each.to_dict() for each in expected]))
        for parameters, says in (
            ({"entity": "e99"}, "entity: no entity"),
            ({"entity": "e3", "relation": "r9"}, "relation: no relation"),
            ({}, "entity: "),
            ({"entity": "e3", "top_k": 5000}, "top_k: "),
            ({"entity": "e3", "heads": "/etc/passwd"}, "heads: "),
        ):
            status, answer = asked.get("/suggest", **parameters)
            assert status == 422 and re.search(says, answer["error"])
    status, answer = client.get("/suggest", entity="Hub")
    assert status == 422 and "needs probabilities" in answer["error"]
    with pytest.raises(PmdError, match="takes too long; name a relation"):
        Service(sure).suggestions("e3", None, 4, ends=0)


def test_a_search_ends_before_its_request_so_that_it_can_say_why(model, monkeypatch):
    service = Service(model)
    monkeypatch.setattr(service, "suggestions", lambda *asked: {"left": asked[-1] - time.monotonic()})
    with serving(make_app(service, seconds=1000, local=True)) as port:
        status, answer = Client(port).get("/suggest", entity="Hub")
        assert status == 200 and answer["left"] < 950


def test_it_says_what_the_graph_has(client):
    status, graph = client.get("/graph")
    assert (status, graph["entities"], len(graph["relations"])) == (200, 13, 3)
    status, hub = client.get("/graph/facts", entity="Hub", limit=99)
    train = {tuple(row) for row in tiny_graph().train.tolist() if 7 in (row[0], row[2])}
    listed = {tuple(int(fact[part]["id"][1:]) for part in ("head", "relation", "tail")) for fact in hub["facts"]}
    assert status == 200 and listed == train and hub["num_facts"] == len(hub["facts"]) == len(train)
    assert "train" in hub["facts"][0]["known"]
    assert client.get("/graph/facts", entity="Hub", limit=2)[1]["num_facts"] == len(train)
    loops = client.get("/graph/facts", entity="e0")[1]["facts"]
    assert sum(fact["head"] == fact["tail"] for fact in loops) == 1


def test_entities_are_found_while_typed(client):
    assert [found["id"] for found in client.get("/entities", q="AD")[1]["entities"]] == ["e0", "e6"]
    assert client.get("/entities", q="tow")[1]["entities"][0]["name"] == "Babel tower"
    assert client.get("/entities", q="") == (200, {"entities": []})


def test_64_clients_each_get_their_own_answers(port, model):
    entities = [f"e{row}" for row in range(13)]
    expected = {
        (entity, relation): model.answer(head=entity, relation=relation, top_k=3).to_dict()
        for entity in entities
        for relation in ("r0", "r1", "r2")
    }
    asked, wrong = [*expected], []

    def ask(number: int) -> None:
        client = Client(port)
        for turn in range(4):
            head, relation = asked[(number * 7 + turn) % len(asked)]
            answer = client.get("/answer", head=head, relation=relation, top_k=3)
            if answer != (200, expected[head, relation]):
                wrong.append((head, relation, answer))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/answer?head=Hub", 422, "relation: none is given"),
        ("/answer?head=Hubb&relation=near", 422, "head: no entity 'Hubb'; did you mean Hub"),
        ("/answer?head=Ada&relation=near", 422, "2 have the name"),
        ("/answer?head=e1&tail=e2&relation=near", 422, "give one of head, tail and text"),
        ("/answer?head=e1&relation=near&top_k=1000", 422, "top_k: "),
        ("/answer?head=e1&relation=near&coverage=2", 422, "coverage: "),
        ("/answer?head=e1&relation=near&coverage=0.9", 422, "coverage: .* validation"),
        ("/answer?head=e1&relation=near&candidates=/etc/passwd", 422, "candidates: "),
        ("/answer?head=%00%ff&relation=near", 422, "head: no entity"),
        ("/classify?head=e1&relation=near", 422, "tail: none is given"),
        ("/relations?head=e1", 422, "tail: "),
        ("/graph/facts?entity=" + "x" * 5000, 422, "entity: "),
        ("/nothing", 404, "GET /nothing"),
        ("/../../../etc/passwd", 404, "GET "),
        ("/%2e%2e/app.py", 404, "GET "),
    ],
)
def test_what_cannot_be_answered_is_a_line(client, path, status, says):
    answered, content = client.get(path)
    assert answered == status and [*content] == ["error"] and "\n" not in content["error"]
    assert re.search(says, content["error"])


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "JSON|parsing"),
        (b"[]", 422, ""),
        ({"questions": []}, 422, "questions: "),
        ({"questions": [{"head": "e1", "relation": "near"}] * (MAX_BATCH + 1)}, 422, "questions: "),
        ({"questions": [{"head": 7, "relation": "near"}]}, 422, r"questions\.0\.head: "),
        ({"questions": [{"head": "e1", "relation": "near"}, {"head": "e1"}]}, 422, r"questions\[1\]: relation"),
        ({"questions": [{"head": "\ud800", "relation": "near"}]}, 422, ""),
        ({"questions": [{"file": "/etc/passwd"}]}, 422, "file"),
        (b" " * (MAX_BYTES + 1), 413, "larger"),
    ],
)
def test_a_body_that_cannot_be_answered_is_a_line(client, body, status, says):
    answered, content = client.post("/answer", body)
    assert answered == status and [*content] == ["error"] and "\n" not in content["error"]
    assert re.search(says, content["error"])


def test_a_body_without_a_length_is_bounded_too(port):
    for _ in range(20):
        chunks = (b"x" * 8192 for _ in range(20))
        with suppress(ConnectionError):  # what was not read when the server closed takes the answer with it
            status, _, content = Client(port).raw("POST", "/answer", chunks, {"content-type": "application/json"})
            assert status == 413 and b"larger" in content
            return
    pytest.fail("no answer in 20 tries")


def test_only_names_of_this_machine_reach_a_local_server(client, model):
    status, _, content = client.raw("GET", "/graph", headers={"host": "elsewhere.example"})
    assert status == 421 and b"localhost" in content
    for host in ("[::1]:80", "localhost", "LOCALHOST:8000"):
        assert client.raw("GET", "/graph", headers={"host": host})[0] == 200
    assert client.raw("GET", "/graph", headers={"host": "[::1"})[0] == 421
    with serving(make_app(Service(model), seconds=20, local=False)) as port:
        assert Client(port).raw("GET", "/graph", headers={"host": "elsewhere.example"})[0] == 200


def test_a_request_has_so_much_time(model, monkeypatch):
    service = Service(model)
    monkeypatch.setattr(service, "graph", lambda: time.sleep(1))
    with serving(make_app(service, seconds=0.05, local=True)) as port:
        status, content = Client(port).get("/graph")
        assert status == 503 and "no answer within 0.05 s" in content["error"]
        slow = Client(port).connection
        slow.putrequest("POST", "/answer")
        slow.putheader("content-length", "10")
        slow.endheaders()
        assert slow.getresponse().status == 408


def test_a_connection_that_says_nothing_is_closed(model):
    app = make_app(Service(model), seconds=5, local=True)
    with serving(app, http=TimedConnection, timeout_keep_alive=0.2) as port:
        for said in (b"", b"GET /graph HT"):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as waiting:
                waiting.sendall(said)
                assert waiting.recv(100) == b""
        client = Client(port)
        for _ in range(2):
            assert client.get("/graph")[0] == 200


def test_an_error_of_ours_is_a_line_too(model, monkeypatch):
    service = Service(model)
    monkeypatch.setattr(service, "graph", lambda: {}["secret"])
    with serving(make_app(service, seconds=5, local=True)) as port:
        assert Client(port).get("/graph") == (500, {"error": "unexpected KeyError; the server's log has its traceback"})


def test_it_describes_itself_without_a_network(client):
    status, api = client.get("/openapi.json")
    assert status == 200 and {"/answer", "/classify", "/relations", "/why", "/entities"} <= {*api["paths"]}
    status, headers, content = client.raw("GET", "/docs")
    assert status == 200 and b"http" not in content.replace(b"http-equiv", b"")
    assert headers["content-security-policy"].startswith("default-src 'self'")


def test_wrong_options_are_named(student):
    with pytest.raises(PmdError, match=r"^workers: 0"):
        next(serve(ServeConfig(str(student), workers=0)))
    with pytest.raises(PmdError, match=r"^workers: tools over stdin .* --mcp http"):
        next(serve(ServeConfig(str(student), workers=2, mcp=True)))
    with pytest.raises(PmdError, match=r"^port: 70000"):
        next(serve(ServeConfig(str(student), port=70000)))
    taken = listen("127.0.0.1", 0)
    with taken, pytest.raises(PmdError, match=r"^port: cannot listen .* choose another"):
        next(serve(ServeConfig(str(student), port=taken.getsockname()[1])))


PROGRAM = """
import sys
from pmd.serve import command

made = command.application
def application(config):
    app = made(config)
    @app.get("/modules")
    async def modules():
        return sorted(name for name in ("torch", "transformers", "datasets", "mcp") if name in sys.modules)
    return app
command.application = application
for line in command.serve(command.ServeConfig(sys.argv[1], port=0)):
    print(line, flush=True)
"""


def test_a_text_student_is_served_without_torch(student):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(student)], stdout=subprocess.PIPE, text=True)
    try:
        client = Client(int(process.stdout.readline().split()[0].rpartition(":")[2]))
        assert client.get("/answer", text="a town", relation="near")[0] == 200
        assert client.get("/classify", head="e0", relation="near", tail="e1")[0] == 200
        assert client.get("/why", head="e0", relation="near", tail="e1")[0] == 200
        assert client.get("/modules") == (200, [])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def test_workers_answer_on_one_port(student):
    command = [sys.executable, "-m", "pmd", "serve", str(student), "--port=0", "--workers=2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline().split()[0].rpartition(":")[2])
        assert Client(port).get("/graph")[1]["entities"] == 13
    finally:
        process.terminate()
        assert process.wait(60) in (0, -15, 143)
        process.stdout.close()
