"""`pmd serve`: a trained model behind a JSON API, or as tools of an agent (MCP)."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from pmd.core.errors import PmdError, need_package
from pmd.serve.limits import LOOPBACK, MAX_BYTES, MAX_CONNECTIONS, Limits
from pmd.serve.service import Service
from pmd.settings.shared import DataConfig, Search
from pmd.use.load import load
from pmd.use.locate import locate
from pmd.use.search import searching

SETTINGS = "PMD_SERVE"
"""The environment variable that tells worker processes what to serve."""


@dataclass
class ServeConfig:
    """Serve a trained model: a JSON API, or tools for agents.

    Args:
        model: a run folder, a stage's folder in one, or a Hub id.
        stage: stage of a run folder; by default the last finished one.
        revision: branch, tag or commit of a Hub id; by default main.
        host: address to listen on; other machines reach the server if it is not this machine's own.
        port: of the address; 0 takes a free one.
        workers: processes that answer; they share the entities' vectors.
        seconds: the seconds that a request may take.
        search: how the best entities are found, as `pmd answer` has it: `exact`, `funnel` or `faiss`.
        mcp: serve tools for agents by the Model Context Protocol instead: over stdin and stdout, or over `http` at /mcp.
        data: the graph, needed if the model's folder is not in a run and has no index.
    """

    model: str
    stage: str | None = None
    revision: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    seconds: float = 10.0
    search: Search = "exact"
    mcp: Literal["http"] | bool = False
    data: DataConfig | None = None


def serve(config: ServeConfig) -> Iterator[str]:
    """Serve until stopped; says where.

    Raises:
        PmdError: for a model that cannot be used, options that cannot work, and an address that is not free.
    """
    for package in ("fastapi", "uvicorn", *(["mcp"] if config.mcp else [])):
        need_package(package, "pmd serve needs", "serve")
    if config.workers < 1 or config.seconds <= 0:
        name = "workers" if config.workers < 1 else "seconds"
        raise PmdError(f"{name}: {getattr(config, name)} is too few; give at least 1")
    if config.mcp is True:
        for name in ("host", "port", "workers"):
            if getattr(config, name) != getattr(ServeConfig, name):
                raise PmdError(f"{name}: tools over stdin and stdout have none; leave it out, or say --mcp http")
        from pmd.serve.tools import make_tools

        make_tools(service_of(config), seconds=config.seconds).run("stdio")
        return
    import uvicorn

    from pmd.serve.connections import TimedConnection

    listening = listen(config.host, config.port)
    # Before others start: an index that is missing is built once, and workers find what was learned.
    app = application(config)
    host, port = listening.getsockname()[:2]
    if config.host not in LOOPBACK:
        print(f"warning: {config.host} is not this machine alone: whoever reaches port {port} can ask", file=sys.stderr)
    where = "/mcp is for agents" if config.mcp else "/docs lists what it can be asked"
    yield f"http://{f'[{host}]' if ':' in host else host}:{port} answers; {where} (Ctrl-C stops it)"
    sys.stdout.flush()
    limits = {
        "limit_concurrency": MAX_CONNECTIONS,
        "h11_max_incomplete_event_size": MAX_BYTES,  # of the head of a request
        "http": TimedConnection,
        "ws": "none",
        "proxy_headers": False,
        "server_header": False,
    }
    log = {"access_log": False, "log_level": "warning"}  # questions may be private
    if config.workers == 1:
        uvicorn.Server(uvicorn.Config(app, **limits, **log)).run(sockets=[listening])
        return
    from uvicorn.supervisors import Multiprocess

    os.environ[SETTINGS] = json.dumps(asdict(config))
    workers = uvicorn.Config("pmd.serve.command:worker", factory=True, workers=config.workers, **limits, **log)
    Multiprocess(workers, sockets=[listening]).run()


def worker():
    """The application of a worker process."""
    settings = json.loads(os.environ[SETTINGS])
    data = settings.pop("data")
    return application(ServeConfig(**settings, data=data and DataConfig(**data)))


def application(config: ServeConfig):
    """The application that a config describes, ready to answer."""
    service, local = service_of(config), config.host in LOOPBACK
    if config.mcp:
        from pmd.serve.tools import make_tools

        tools = make_tools(service, seconds=config.seconds)
        app = tools.streamable_http_app(host=config.host, stateless_http=True, json_response=True)
        app.add_middleware(Limits, seconds=config.seconds, local=local)
        return app
    from pmd.serve.app import make_app

    return make_app(service, seconds=config.seconds, local=local)


def service_of(config: ServeConfig) -> Service:
    """The model that a config names, ready to answer."""
    model = load(locate(config.model, config.stage, config.revision), config.data)
    service = Service(searching(model, config.search))
    service.warm_up()
    return service


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. PmdError where none can."""
    if not 0 <= port < 65536:
        raise PmdError(f"port: {port} is none; give a number from 0 to 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise PmdError(
            f"port: cannot listen on {host}:{port} ({error.strerror}); choose another --port or --host"
        ) from None
    # Connections inherit it. Otherwise the body of a response, sent after its head, waits 40 ms for that to be acknowledged.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
