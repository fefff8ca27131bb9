"""The tools for agents, by the client of the MCP SDK, over both transports."""

import json
import sys

import pytest

import pmd

anyio = pytest.importorskip("anyio")
pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters  # noqa: E402
from mcp.client.stdio import stdio_client  # noqa: E402

from pmd.serve.command import ServeConfig, application  # noqa: E402

from .serving import serving  # noqa: E402


def near(number):
    return round(float(number), 4)


async def ask_everything(transport, model):
    async with Client(transport) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {*tools} == {"answer", "classify", "relations", "why", "suggest", "find_entity"}
        assert "file" not in json.dumps([tool.input_schema for tool in tools.values()]).lower()

        async def call(tool, **arguments):
            return (await client.call_tool(tool, arguments)).structured_content

        def alike(given, expected):  # another process may multiply in another order
            assert json.loads(json.dumps(expected), parse_float=near) == json.loads(json.dumps(given), parse_float=near)

        asked = {"head": "e7", "relation": "near", "top_k": 2}
        alike(await call("answer", **asked), model.answer(**asked).to_dict())
        triple = {"head": "e0", "relation": "r1", "tail": "Hub"}
        verdict = await call("classify", **triple)
        alike(verdict, model.classify(**triple).to_dict())
        assert verdict["known"] == ["train"]
        assert len((await call("relations", head="e0", tail="Hub", top_k=2))["relations"]) == 2
        alike(await call("why", **triple), model.why(**triple).to_dict())
        assert [found["id"] for found in (await call("find_entity", name="ada"))["entities"]] == ["e0", "e6"]
        refused = await client.call_tool("suggest", {"entity": "Hub"})
        assert refused.is_error and "needs probabilities" in refused.content[0].text
        for arguments, says in (
            ({"head": "Hubb", "relation": "near"}, "did you mean Hub"),
            ({"relation": "near"}, "give one of head, tail and text"),
            ({"head": "e7", "relation": "near", "top_k": 5000}, "top_k"),
        ):
            refused = await client.call_tool("answer", arguments)
            assert refused.is_error and says in refused.content[0].text


def test_agents_ask_over_stdio(student):
    server = StdioServerParameters(command=sys.executable, args=["-m", "pmd", "serve", str(student), "--mcp"])
    anyio.run(ask_everything, stdio_client(server), pmd.load(student))


def test_agents_ask_over_http(student):
    with serving(application(ServeConfig(str(student), mcp="http"))) as port:
        anyio.run(ask_everything, f"http://127.0.0.1:{port}/mcp", pmd.load(student))
