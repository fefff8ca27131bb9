"""The JSON API of a served model, with its description by OpenAPI, and a page to ask it on.

One question is asked by GET, several by POST as `{"questions": […], …}`, which answers `{"results": […]}` in their order.
Whatever cannot be answered is a status from 400 and `{"error": "one line"}`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pmd.core.errors import PmdError
from pmd.serve.asked import (
    AnswerListing,
    Listing,
    Missing,
    PairQuestion,
    Pairs,
    Question,
    Questions,
    Reasons,
    Text,
    Triple,
    Triples,
)
from pmd.serve.limits import MAX_LISTED, Limits, Pool, Refusal, error_body
from pmd.serve.service import Service

JSON = "application/json"
PAGE = Path(__file__).parent / "page"
PAGES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/names.js": ("names.js", "text/javascript"),
    "/picture.js": ("picture.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/docs": ("docs.html", "text/html"),
    "/docs.js": ("docs.js", "text/javascript"),
}
SEARCHING = 0.9
"""The share of a request's time after which a search is given up, so that its client hears why."""
Limit = Annotated[int, Query(ge=1, le=MAX_LISTED)]


def make_app(service: Service, *, seconds: float, local: bool) -> FastAPI:
    """The application of a model; a request has so many seconds. `local` is for servers that only this machine reaches."""
    app = FastAPI(title="pmd serve", description=__doc__, docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    app.add_middleware(Limits, seconds=seconds, local=local)
    add_questions(app, service, Pool(seconds))
    add_pages(app)
    add_errors(app, service.index.model)
    return app


def add_questions(app: FastAPI, service: Service, pool: Pool) -> None:
    """The routes that ask the model."""

    async def answered(work: Callable[[], Any]) -> Response:
        content = await pool.run(lambda: json.dumps(work(), ensure_ascii=False, allow_nan=False).encode())
        return Response(content, media_type=JSON)

    @app.get("/answer", summary="The entities that complete (head, relation, ?) or (?, relation, tail)")
    async def answer(asked: Annotated[Question, Query()]) -> Response:
        return await answered(
            lambda: service.answers([_parts(asked, AnswerListing)], **_options(asked, AnswerListing))[0]
        )

    @app.post("/answer", summary="The same for several questions")
    async def answer_all(asked: Questions) -> Response:
        questions = [question.model_dump() for question in asked.questions]
        return await answered(lambda: {"results": service.answers(questions, **_options(asked, AnswerListing))})

    @app.get("/classify", summary="Whether a triple holds")
    async def classify(asked: Annotated[Triple, Query()]) -> Response:
        return await answered(lambda: service.verdicts([asked.model_dump()])[0])

    @app.post("/classify", summary="The same for several triples")
    async def classify_all(asked: Triples) -> Response:
        return await answered(
            lambda: {"results": service.verdicts([triple.model_dump() for triple in asked.questions])}
        )

    @app.get("/relations", summary="The relations that join two entities, in both directions")
    async def relations(asked: Annotated[PairQuestion, Query()]) -> Response:
        return await answered(lambda: service.relations([_parts(asked, Listing)], **_options(asked, Listing))[0])

    @app.post("/relations", summary="The same for several pairs")
    async def relations_all(asked: Pairs) -> Response:
        pairs = [pair.model_dump() for pair in asked.questions]
        return await answered(lambda: {"results": service.relations(pairs, **_options(asked, Listing))})

    @app.get("/why", summary="What speaks for a triple: facts like it, paths between its ends, parts of a fused score")
    async def why(asked: Annotated[Reasons, Query()]) -> Response:
        return await answered(lambda: service.why(asked.model_dump(exclude={"count"}), asked.count))

    @app.get("/suggest", summary="The most plausible facts about an entity that the graph lacks")
    async def suggest(asked: Annotated[Missing, Query()]) -> Response:
        ends = time.monotonic() + SEARCHING * pool.seconds
        return await answered(lambda: service.suggestions(asked.entity, asked.relation, asked.top_k, ends))

    @app.get("/entities", summary="Entities whose name or id has what was typed; what begins so is first")
    async def entities(q: Text = "", limit: Limit = 10) -> Response:
        return await answered(lambda: service.entities(q, limit))

    @app.get("/graph", summary="Which model and graph this is, and its relations")
    async def graph() -> Response:
        return await answered(service.graph)

    @app.get("/graph/facts", summary="What the graph says about an entity")
    async def facts(entity: Text, limit: Limit = 30) -> Response:
        return await answered(lambda: service.facts(entity, limit))


def add_pages(app: FastAPI) -> None:
    """The files of the page, read once: no path of a request becomes the path of a file."""
    for route, (name, media_type) in PAGES.items():
        response = (PAGE / name).read_bytes(), media_type

        def page(response: tuple[bytes, str] = response) -> Callable:
            async def send() -> Response:
                return Response(response[0], media_type=response[1])

            return send

        app.add_api_route(route, page(), include_in_schema=False)


def add_errors(app: FastAPI, folder: Path) -> None:
    """Every error is JSON with one line. A message names the model's folder by its last part alone."""

    def failed(status: int, message: object) -> Response:
        return Response(error_body(message), status, media_type=JSON)

    @app.exception_handler(PmdError)
    async def unusable(_: Request, error: PmdError) -> Response:
        return failed(422, str(error).replace(str(folder), folder.name))

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        return failed(refusal.status, refusal.message)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return failed(400, f"the request is not JSON: {first['ctx']['error']}")
        field = ".".join(map(str, first["loc"][1:])) or "the request"
        return failed(422, f"{field}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def missing(request: Request, error: HTTPException) -> Response:
        return failed(
            error.status_code, f"{request.method} {request.url.path}: {error.detail}; /docs lists what there is"
        )

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> Response:
        return failed(500, f"unexpected {type(error).__name__}; the server's log has its traceback")


def _options(asked: Listing, kind: type[Listing]) -> dict[str, Any]:
    return asked.model_dump(include={*kind.model_fields})


def _parts(asked: Question | PairQuestion, listing: type[Listing]) -> dict[str, Any]:
    return asked.model_dump(exclude={*listing.model_fields})
