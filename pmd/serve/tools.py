"""The same questions as tools of an MCP server, for agents: few results each, with probabilities and where they come from."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from pmd.core.errors import PmdError
from pmd.serve.limits import MAX_TEXT
from pmd.serve.service import Service

Count = Annotated[int, Field(ge=1, le=50)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
INSTRUCTIONS = """Questions to a trained model of the knowledge graph '{graph}' ({entities:,} entities). Name entities and relations by id \
or name; find_entity finds them. `known` lists the splits of the graph that have a fact: an answer without any is the model's \
proposal, and `probability` says how often such a one holds. Relations: {relations}."""
SHOWN_RELATIONS = 100


def make_tools(service: Service, *, seconds: float) -> MCPServer:
    """An MCP server that asks a model; a search for suggestions may take so many seconds."""
    graph = service.graph()
    names = [relation["name"] for relation in graph["relations"]]
    listed = ", ".join(names[:SHOWN_RELATIONS]) + ", …" * (len(names) > SHOWN_RELATIONS)
    server = MCPServer("pmd", instructions=INSTRUCTIONS.format(**graph | {"relations": listed}), log_level="WARNING")

    def asked(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return work()
        except PmdError as error:
            raise ToolError(str(error).replace(str(service.index.model), service.index.model.name)) from None

    @server.tool()
    def answer(
        relation: Text, head: Text = "", tail: Text = "", text: Text = "", top_k: Count = 5, new: bool = False
    ) -> dict[str, Any]:
        """The entities that complete (head, relation, ?) or (?, relation, tail). Give head or tail, or, for an entity that is not in
        the graph, a text that describes it as head. `new` leaves out what the graph already has."""
        question = {"head": head, "relation": relation, "tail": tail, "text": text}
        return asked(lambda: service.answers([question], top_k=top_k, new=new)[0])

    @server.tool()
    def classify(head: Text, relation: Text, tail: Text) -> dict[str, Any]:
        """Whether a triple holds: verdict, probability, ranks, and the splits of the graph that have it."""
        return asked(lambda: service.verdicts([{"head": head, "relation": relation, "tail": tail}])[0])

    @server.tool()
    def relations(head: Text, tail: Text, top_k: Count = 5, new: bool = False) -> dict[str, Any]:
        """The relations that join two entities, best first; `inverse` ones lead from the tail to the head."""
        return asked(lambda: service.relations([{"head": head, "tail": tail}], top_k=top_k, new=new)[0])

    @server.tool()
    def why(head: Text, relation: Text, tail: Text, count: Annotated[int, Field(ge=1, le=10)] = 3) -> dict[str, Any]:
        """What speaks for a triple: training facts like it, and paths of training facts between its ends."""
        return asked(lambda: service.why({"head": head, "relation": relation, "tail": tail}, count))

    @server.tool()
    def suggest(entity: Text, relation: Text = "", top_k: Count = 5) -> dict[str, Any]:
        """The most plausible facts about an entity that the graph lacks, with the entity at either end; perhaps of one relation
        alone. Each has the probability that it holds."""
        return asked(lambda: service.suggestions(entity, relation, top_k, time.monotonic() + seconds))

    @server.tool()
    def find_entity(name: Text, limit: Count = 5) -> dict[str, Any]:
        """Entities whose name or id begins with, or else contains, a text."""
        return service.entities(name, limit)

    return server
