"""A small Hub: the calls by which `huggingface_hub` makes repositories, uploads, commits, lists and downloads.

Large files go the way of Git LFS, in one piece or in parts. It keeps everything in memory, notes every request, knows
tokens that may write or only read, and breaks the connection in the middle of uploads as often as it is told.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

LARGE = (".safetensors", ".npy")
TOKENS = {"hf_right": "write", "hf_reading": "read"}
USER = "user"


@dataclass
class Repo:
    """Files by name, in every commit; a branch is the last of its commits."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    parents: dict[str, str | None] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        listed = [(name, hashlib.sha1(content).hexdigest()) for name, content in sorted(files.items())]
        sha = hashlib.sha1(repr((branch, len(self.commits), listed)).encode()).hexdigest()
        self.parents[sha] = self.branches.get(branch)
        self.commits[sha], self.branches[branch] = files, sha
        self.messages.append(message)
        return sha

    def find(self, revision: str) -> str | None:
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class HubServer(ThreadingHTTPServer):
    """The server; `with HubServer() as hub:` runs it, `hub.url` is its address."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.drops = 0
        """So many uploads of large files are cut in the middle; -1 for all."""
        self.chunk_size: int | None = None
        """Large files come in parts of so many bytes."""
        self.failing: dict[str, int] = {}
        """Statuses to answer with, by a part of the path."""

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self.shutdown()
        self.server_close()

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        return self.repos[repo].commits[self.repos[repo].branches[branch]]

    def count(self, method: str, part: str) -> int:
        return sum(made == method and part in path for made, path in self.requests)


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str | None = None, **more):
        self.status, self.message, self.code, self.more = status, message, code, more


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *arguments) -> None:
        pass

    def do_GET(self) -> None:
        self.answer("GET")

    def do_HEAD(self) -> None:
        self.answer("HEAD")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PUT(self) -> None:
        self.answer("PUT")

    def answer(self, method: str) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((method, self.path))
        try:
            if self.cut(method, path):
                return
            body = self.body()
            for part, status in self.server.failing.items():
                if part in path:
                    raise Refused(status, "out of order")
            for pattern, route in ROUTES.items():
                found = re.fullmatch(pattern, f"{method} {path}")
                if found:
                    route(self, body, **found.groupdict())
                    return
            raise Refused(404, f"no such call: {method} {path}")
        except Refused as refused:
            headers = {"X-Error-Message": refused.message}
            if refused.code:
                headers["X-Error-Code"] = refused.code
            self.say({"error": refused.message, **refused.more}, refused.status, headers)

    def cut(self, method: str, path: str) -> bool:
        """Break the connection after half of a large file, if one is to be broken."""
        if method != "PUT" or not self.server.drops:
            return False
        self.server.drops -= 1
        self.rfile.read(int(self.headers["Content-Length"]) // 2)
        # Without lingering, closing resets the connection.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        return True

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def say(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # Who may do what

    def token(self) -> str | None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return given or None

    def may_write(self, namespace: str) -> None:
        if TOKENS.get(self.token()) is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        if namespace != USER or TOKENS[self.token()] != "write":
            raise Refused(403, f"You don't have the rights to create a model under the namespace {namespace}")

    def repo(self, repo: str) -> Repo:
        found = self.server.repos.get(repo)
        if found is None or (found.private and self.token() not in TOKENS):
            raise Refused(404, "Repository not found", "RepoNotFound")
        return found

    def files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]]:
        found = self.repo(repo)
        sha = found.find(revision)
        if sha is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, found.commits[sha]

    # The calls

    def whoami(self, body: bytes) -> None:
        if self.token() not in TOKENS:
            raise Refused(401, "Invalid credentials in Authorization header")
        self.say({"name": USER, "type": "user", "orgs": []})

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        namespace = asked.get("organization") or USER
        self.may_write(namespace)
        repo = f"{namespace}/{asked['name']}"
        url = f"{self.server.url}/{repo}"
        if repo in self.server.repos:
            raise Refused(409, "You already created this model repo", url=url, name=repo)
        private = asked.get("private") or asked.get("visibility") == "private"
        made = self.server.repos[repo] = Repo(private=bool(private))
        made.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self.say({"url": url, "name": repo, "id": repo})

    def validate(self, body: bytes) -> None:
        head = json.loads(body)["content"].split("---\n")[1]
        try:
            found = yaml.safe_load(head)
        except yaml.YAMLError as error:
            found = str(error)
        if not isinstance(found, dict) or found.get("license") == "no such licence":
            errors = [{"message": f'"license" must be one of … in {head.split()[0]}'}]
            self.say({"errors": errors, "warnings": []}, 400)
        else:
            self.say({"errors": [], "warnings": []})

    def info(self, body: bytes, repo: str, revision: str | None = None) -> None:
        sha, files = self.files(repo, revision or "main")
        siblings = [{"rfilename": name} for name in files]
        private = self.repo(repo).private
        self.say({"id": repo, "modelId": repo, "sha": sha, "private": private, "tags": [], "siblings": siblings})

    def tree(self, body: bytes, repo: str, revision: str) -> None:
        entries = []
        for name, content in self.files(repo, revision)[1].items():
            entry = {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            if name.endswith(LARGE):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            entries.append(entry)
        self.say(entries)

    def branch(self, body: bytes, repo: str, branch: str) -> None:
        self.may_write(repo.split("/")[0])
        found = self.repo(repo)
        found.branches[branch] = self.files(repo, json.loads(body or b"{}").get("startingPoint", "main"))[0]
        self.say({})

    def history(self, body: bytes, repo: str, revision: str) -> None:
        found, sha = self.repo(repo), self.files(repo, revision)[0]
        listed = []
        while sha is not None:
            listed.append(sha)
            sha = found.parents[sha]
        shared = {"authors": [{"user": USER}], "date": "2026-01-01T00:00:00.000Z", "title": "", "message": ""}
        self.say([{"id": sha, **shared} for sha in listed])

    def preupload(self, body: bytes, repo: str, revision: str) -> None:
        self.may_write(repo.split("/")[0])
        self.files(repo, revision)
        asked = json.loads(body)["files"]
        modes = [(of["path"], "lfs" if of["path"].endswith(LARGE) else "regular") for of in asked]
        self.say({"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes]})

    def batch(self, body: bytes, repo: str) -> None:
        self.may_write(repo.split("/")[0])
        objects = []
        for asked in json.loads(body)["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.server.objects:
                place = f"{self.server.url}/lfs/{asked['oid']}"
                upload = {"href": place}
                size = self.server.chunk_size
                if size and asked["size"] > size:
                    parts = range(1, -(-asked["size"] // size) + 1)
                    header = {"chunk_size": str(size), **{str(part): f"{place}/{part}" for part in parts}}
                    upload = {"href": f"{place}/complete", "header": header}
                answer["actions"] = {"upload": upload, "verify": {"href": f"{place}/verify"}}
            objects.append(answer)
        self.say({"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str, part: str | None = None) -> None:
        if part is None:
            assert hashlib.sha256(body).hexdigest() == oid
            self.server.objects[oid] = body
        else:
            self.server.parts[oid, int(part)] = body
        self.send(b"", headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def complete(self, body: bytes, oid: str) -> None:
        parts = [self.server.parts[oid, of["partNumber"]] for of in json.loads(body)["parts"]]
        assert hashlib.sha256(b"".join(parts)).hexdigest() == oid
        self.server.objects[oid] = b"".join(parts)
        self.say({})

    def verify(self, body: bytes, oid: str) -> None:
        if len(self.server.objects.get(oid, b"")) != json.loads(body)["size"]:
            raise Refused(404, "no such object")
        self.say({})

    def commit(self, body: bytes, repo: str, revision: str) -> None:
        self.may_write(repo.split("/")[0])
        files = dict(self.files(repo, revision)[1])
        header, *lines = (json.loads(line) for line in body.splitlines())
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server.objects:
                    raise Refused(400, f"{value['path']} was not uploaded")
                files[value["path"]] = self.server.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        sha = self.repo(repo).commit(revision, files, header["value"]["summary"])
        url = f"{self.server.url}/{repo}/commit/{sha}"
        self.say({"success": True, "commitUrl": url, "commitOid": sha, "hookOutput": ""})

    def resolve(self, body: bytes, repo: str, revision: str, path: str) -> None:
        sha, files = self.files(repo, revision)
        if path not in files:
            raise Refused(404, "Entry not found", "EntryNotFound")
        digest = (hashlib.sha256 if path.endswith(LARGE) else hashlib.sha1)(files[path]).hexdigest()
        self.send(files[path], headers={"X-Repo-Commit": sha, "ETag": f'"{digest}"'})


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES = {
    r"GET /api/whoami-v2": Handler.whoami,
    r"POST /api/repos/create": Handler.create,
    r"POST /api/validate-yaml": Handler.validate,
    rf"GET /api/models/{REPO}(/revision/(?P<revision>.+))?": Handler.info,
    rf"GET /api/models/{REPO}/tree/(?P<revision>[^/]+)": Handler.tree,
    rf"GET /api/models/{REPO}/commits/(?P<revision>[^/]+)": Handler.history,
    rf"POST /api/models/{REPO}/branch/(?P<branch>[^/]+)": Handler.branch,
    rf"POST /api/models/{REPO}/preupload/(?P<revision>[^/]+)": Handler.preupload,
    rf"POST /{REPO}\.git/info/lfs/objects/batch": Handler.batch,
    r"PUT /lfs/(?P<oid>\w+)(/(?P<part>\d+))?": Handler.put,
    r"POST /lfs/(?P<oid>\w+)/complete": Handler.complete,
    r"POST /lfs/(?P<oid>\w+)/verify": Handler.verify,
    rf"POST /api/models/{REPO}/commit/(?P<revision>[^/]+)": Handler.commit,
    rf"(GET|HEAD) /{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)": Handler.resolve,
}
