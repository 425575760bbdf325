"""A small Hub on loopback: the calls that huggingface_hub makes to publish and to load models, over real HTTP."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

USER, TOKEN = "user", "hf_test"


@dataclass
class Repository:
    private: bool
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})

    def sha(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)


class HubServer(ThreadingHTTPServer):
    """Repositories and large files in memory. `break_at` cuts the connection at a step: "large file" or "commit"."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.break_at: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that are cut on purpose need no traceback."""


@contextmanager
def running_hub() -> Iterator[HubServer]:
    server = HubServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        # Read in any case: the connection goes on.
        self.content = self._body(cut=self.server.break_at == "commit" and "/commit/" in path)
        if path == "/test/break":  # not the Hub's: tests set where the connection breaks
            self.server.break_at = json.loads(self.content)
            self.server.large_files.clear()  # or what was uploaded once would not be uploaded again
            return self._json(None)
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._error(401, "RepoNotFound", "Invalid username or password.")
        if path == "/api/repos/create":
            return self._create_repository()
        if match := re.fullmatch(r"/api/models/(.+)/preupload/(.+)", path):
            return self._preupload(*match.groups())
        if match := re.fullmatch(r"/api/models/(.+)/commit/(.+)", path):
            return self._commit(*match.groups())
        if match := re.fullmatch(r"/api/models/(.+)/branch/(.+)", path):
            return self._branch(*match.groups())
        if match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            return self._large_file_batch()
        return self._error(404, "EntryNotFound", f"The test server does not know POST {path}")

    def do_PUT(self) -> None:
        content = self._body(cut=self.server.break_at == "large file")
        oid = self.path.rsplit("/", 1)[1]
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.large_files[oid] = content
        self._json({})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self._model_info(match[1], match[2] or "main")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(?:/.*)?", path):
            return self._tree(*match.groups())
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._resolve(*match.groups())
        return self._error(404, "EntryNotFound", f"The test server does not know GET {path}")

    def _create_repository(self) -> None:
        asked = json.loads(self.content)
        name = f"{asked.get('organization') or USER}/{asked['name']}"
        status = 409 if name in self.server.repositories else 200
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.server.repositories.setdefault(name, Repository(private))
        self._json({"url": f"{self.server.url}/{name}", "name": name}, status)

    def _preupload(self, name: str, revision: str) -> None:
        files = json.loads(self.content)["files"]
        modes = [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"} for f in files
        ]
        self._json({"files": [mode | {"shouldIgnore": False} for mode in modes]})

    def _large_file_batch(self) -> None:
        objects = json.loads(self.content)["objects"]
        answers = [
            {**one, "actions": {"upload": {"href": f"{self.server.url}/large/{one['oid']}", "header": {}}}}
            if one["oid"] not in self.server.large_files
            else one
            for one in objects
        ]
        self._json({"transfer": "basic", "objects": answers})

    def _commit(self, name: str, revision: str) -> None:
        lines = self.content.splitlines()
        repository = self.server.repositories[name]
        files = dict(repository.commits[repository.branches[unquote(revision)]])
        for line in map(json.loads, lines):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large_files[value["oid"]]
        sha = hashlib.sha1(b"".join([*lines, str(len(repository.commits)).encode()])).hexdigest()
        repository.commits[sha] = files
        repository.branches[unquote(revision)] = sha
        self._json({"commitUrl": f"{self.server.url}/{name}/commit/{sha}", "commitOid": sha})

    def _branch(self, name: str, branch: str) -> None:
        branches = self.server.repositories[name].branches
        status = 409 if unquote(branch) in branches else 200
        branches.setdefault(unquote(branch), branches["main"])
        self._json({}, status)

    def _files(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        repository = self.server.repositories.get(name)
        hidden = repository and repository.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        if repository is None or hidden:
            self._error(401, "RepoNotFound", "Repository not found")
            return None
        sha = repository.sha(unquote(revision))
        if sha is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return sha, repository.commits[sha]

    def _model_info(self, name: str, revision: str) -> None:
        if found := self._files(name, revision):
            siblings = [{"rfilename": path} for path in found[1]]
            private = self.server.repositories[name].private
            self._json({"id": name, "modelId": name, "sha": found[0], "private": private, "siblings": siblings})

    def _tree(self, name: str, revision: str) -> None:
        if found := self._files(name, revision):
            entries = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in found[1].items()
            ]
            self._json(entries)

    def _resolve(self, name: str, revision: str, path: str) -> None:
        if not (found := self._files(name, revision)):
            return
        sha, files = found
        if path not in files:
            return self._error(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": sha})
        etag = hashlib.sha256(files[path]).hexdigest()
        self._send(200, files[path], **{"X-Repo-Commit": sha, "ETag": f'"{etag}"', "Accept-Ranges": "none"})

    def _body(self, cut: bool = False) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        if cut:
            self.rfile.read(length // 2)
            self.close_connection = True
            self.connection.close()
            raise ConnectionError("cut on purpose")
        return self.rfile.read(length)

    def _error(self, status: int, code: str, message: str, **headers: str) -> None:
        self._send(status, b"{}", **headers, **{"X-Error-Code": code, "X-Error-Message": message})

    def _json(self, content: object, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), **{"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""
