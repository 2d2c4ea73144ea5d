"""As much of the Hugging Face Hub as its client needs to make, fill and read repositories of models, on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_this_test"


class Hub(ThreadingHTTPServer):
    """repos: name -> its commits, oldest first, each path -> content. requests: method and path of each, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, list[dict[str, bytes]]] = {}
        self.private: dict[str, bool] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        self.repos.setdefault(repo, []).append(files)
        return self.oid(repo, len(self.repos[repo]) - 1)

    def oid(self, repo: str, index: int) -> str:
        return hashlib.sha1(f"{repo} {index}".encode()).hexdigest()

    def at(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commits = {self.oid(repo, i): files for i, files in enumerate(self.repos[repo])}
        oid = self.oid(repo, len(commits) - 1) if revision == "main" else revision
        return (oid, commits[oid]) if oid in commits else None


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - as http.server calls them

    def _answer(self) -> None:
        hub, path = self.server, self.path.split("?")[0]
        hub.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        may_write = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.command == "PUT":  # as a storage service does, by the signed address alone
            hub.large[path.rpartition("/")[2]] = body
            return self._send(200)
        if path == "/api/repos/create":
            if not may_write:
                return self._json({"error": "Invalid credentials"}, 401)
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
            hub.private[name] = wanted.get("visibility") == "private"
            hub.commit(name, {".gitattributes": b""})
            return self._json({"url": f"{hub.url}/{name}"})
        found = re.match(r"(?:/api/models)?/([^/]+/[^/.]+)(?:\.git)?(?:/(.*))?$", path)
        repo, rest = (found[1], found[2] or "") if found else ("", "")
        if repo not in hub.repos or (hub.private.get(repo) and not may_write):
            return self._error(404 if may_write else 401, "RepoNotFound")
        if self.command == "POST" and not may_write:
            return self._error(403, "", "no rights")
        if rest.startswith("preupload"):
            files = json.loads(body)["files"]
            modes = {True: "lfs", False: "regular"}
            said = [
                {"path": f["path"], "uploadMode": modes[f["path"].endswith("safetensors")], "shouldIgnore": False}
                for f in files
            ]
            return self._json({"files": said})
        if rest.startswith("info/lfs"):
            said = [
                {"oid": o["oid"], "size": o["size"], "actions": {"upload": {"href": f"{hub.url}/put/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": said})
        if rest.startswith("commit/"):
            return self._commit(repo, body)
        revision, _, file = rest.removeprefix("resolve/").removeprefix("revision/").removeprefix("tree/").partition("/")
        held = hub.at(repo, revision or "main")
        if held is None:
            return self._error(404, "RevisionNotFound")
        oid, files = held
        if rest.startswith("resolve/"):
            if file not in files:
                return self._error(404, "EntryNotFound", headers={"X-Repo-Commit": oid})
            etag = hashlib.sha256(files[file]).hexdigest()
            return self._send(200, files[file], {"X-Repo-Commit": oid, "ETag": f'"{etag}"'})
        if rest.startswith("tree/"):
            listed = [{"type": "file", "path": p, "size": len(b), "oid": "0" * 40} for p, b in files.items()]
            return self._json(listed)
        self._json({"id": repo, "modelId": repo, "sha": oid, "siblings": [{"rfilename": name} for name in files]})

    def _commit(self, repo: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        parent, files = self.server.at(repo, "main") or ("", {})
        files = dict(files)
        for line in lines:
            key, value = line["key"], line["value"]
            if key == "header" and value.get("parentCommit") not in (None, parent):
                return self._json({"error": "A commit has happened since"}, 412)
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if key == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            if key == "deletedFile":
                del files[value["path"]]
        oid = self.server.commit(repo, files)
        self._json({"commitUrl": f"{self.server.url}/{repo}/commit/{oid}", "commitOid": oid, "success": True})

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _json(self, content: object, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, said: str = "", headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": said or code, **(headers or {})})

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub that answers until the end."""
    with Hub() as hub:
        threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield hub
        hub.shutdown()
