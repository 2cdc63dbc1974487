"""A Hub on this machine: data set repositories in memory, spoken to by the real client.

It answers what huggingface_hub asks with ``HF_HUB_DISABLE_XET=1``: repository creation, the card's
check, preupload, Git LFS batch, upload and verification, commits, listings, and files by revision
with ETag, redirection and ranges. `Fault` spoils requests on demand.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

OWNER_TOKEN = "hf_owner_token_for_tests"
READER_TOKEN = "hf_reader_token_for_tests"
EXPIRED_TOKEN = "hf_expired_token_for_tests"


@dataclass
class Fault:
    """Spoils the next `times` requests of a method whose path has a fragment in it.

    ``kind`` is a status, ``"cut"`` (half of the body), ``"wrong"`` (its last byte differs),
    ``"slow"`` (two seconds of silence) or ``"drop"`` (the connection closes without an answer).
    """

    method: str
    fragment: str
    kind: int | str
    times: int = 1


@dataclass
class Repository:
    """Its commits, the last one first: 40 hex digits and the files, and what its branches mean."""

    private: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    listed: dict[str, str] = field(default_factory=dict)  # paths it claims besides its files

    def commit(self, files: dict[str, bytes]) -> str:
        # A commit is named by what it holds and what came before.
        past = self.commits[0][0] if self.commits else ""
        text = past + json.dumps({k: hashlib.sha1(v).hexdigest() for k, v in files.items()})
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits.insert(0, (oid, files))
        return oid

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[0]
        return next((commit for commit in self.commits if commit[0] == revision), None)


class Hub:
    """Answers while its block runs."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.leaked = False  # whether a token reached the storage
        self.released = threading.Event()
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(_Handler, self)
        )
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # Large files are on another host, which must not receive the token.
        self.storage_url = f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: dict[str, bytes], private: bool = False) -> str:
        """Put a commit into a repository and return it."""
        repository = self.repositories.setdefault(name, Repository(private))
        return repository.commit(files)

    def count(self, method: str, fragment: str) -> int:
        return sum(verb == method and fragment in path for verb, path in self.requests)

    def fault(self, method: str, path: str) -> int | str | None:
        for fault in self.faults:
            if fault.times and fault.method == method and fault.fragment in path:
                fault.times -= 1
                return fault.kind
        return None


def is_lfs(path: str) -> bool:
    return path.endswith((".h5", ".png"))


def _oid(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, *arguments: Any) -> None:
        self.hub = hub
        super().__init__(*arguments)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self._serve()

    do_GET = do_POST = do_PUT = do_HEAD

    def _serve(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append((self.command, path))
        self.spoiled = self.hub.fault(self.command, path)
        if self.spoiled == "drop":
            self.close_connection = True
            self.connection.close()
            return
        if self.spoiled == "slow":
            self.hub.released.wait(2)
        if isinstance(self.spoiled, int):
            self._json(self.spoiled, {"error": "spoiled"}, {"Retry-After": "0"})
            return
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token == EXPIRED_TOKEN:
            self._json(401, {"error": "User Access Token is expired"})
            return
        self.token = token
        if path.startswith("/storage/") and token:
            self.hub.leaked = True
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method:
                answer(self, **found.groupdict())
                return
        self._json(404, {"error": f"no such address: {self.command} {path}"})

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._bytes(status, json.dumps(value).encode(), headers or {})

    def _bytes(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.spoiled == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if self.spoiled == "cut":
            data = data[: len(data) // 2]
            self.close_connection = True
        self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._json(status, {"error": message}, {"X-Error-Code": code, "X-Error-Message": message})

    def _repository(self, name: str) -> Repository | None:
        """Return a repository that this token may see, or answer that there is none."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.token != OWNER_TOKEN):
            self._refuse(404 if self.token else 401, "RepoNotFound", "Repository not found")
            return None
        return repository

    def _commit_at(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        repository = self._repository(name)
        if repository is None:
            return None
        found = repository.at(revision)
        if found is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    def _may_write(self) -> bool:
        if self.token == OWNER_TOKEN:
            return True
        if self.token:
            self._json(403, {"error": "You don't have the rights to do this"})
        else:
            self._json(401, {"error": "Invalid username or password."})
        return False

    def create(self) -> None:
        if not self._may_write():
            return
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.hub.url}/datasets/{name}"
        if name in self.hub.repositories:
            self._json(409, {"error": "You already created this dataset repo", "url": url})
            return
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.add(name, {".gitattributes": b"*.h5 filter=lfs\n"}, private)
        self._json(200, {"url": url, "name": name, "id": name})

    def validate_yaml(self) -> None:
        content = json.loads(self.body)["content"]
        ok = content.startswith("---\n")
        errors = [] if ok else [{"message": "no YAML"}]
        self._json(200 if ok else 400, {"errors": errors, "warnings": []})

    def info(self, name: str, revision: str = "main") -> None:
        found = self._commit_at(name, revision)
        if found is None:
            return
        repository = self.hub.repositories[name]
        paths = [*found[1], *repository.listed]
        self._json(
            200,
            {
                "id": name,
                "sha": found[0],
                "private": repository.private,
                "gated": False,
                "disabled": False,
                "tags": [],
                "siblings": [{"rfilename": path} for path in paths],
            },
        )

    def preupload(self, name: str, revision: str) -> None:
        if not self._may_write():
            return
        found = self._commit_at(name, revision)
        if found is None:
            return
        files = []
        for file in json.loads(self.body)["files"]:
            path = file["path"]
            there = found[1].get(path)
            oid = None if there is None else _oid(there) if is_lfs(path) else _blob(there)
            mode = "lfs" if is_lfs(path) else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json(200, {"files": files})

    def batch(self, name: str) -> None:
        if not self._may_write() or self._repository(name) is None:
            return
        objects = []
        for file in json.loads(self.body)["objects"]:
            answer = {"oid": file["oid"], "size": file["size"], "authenticated": True}
            if file["oid"] not in self.hub.stored:
                answer["actions"] = {
                    "upload": {"href": f"{self.hub.storage_url}/storage/{file['oid']}"},
                    "verify": {"href": f"{self.hub.url}/verify/{file['oid']}"},
                }
            objects.append(answer)
        self._json(200, {"transfer": "basic", "objects": objects})

    def store(self, oid: str) -> None:
        data = self.body
        if self.spoiled == "wrong":  # bytes changed during the upload
            data, self.spoiled = data[:-1] + b"?", None
        self.hub.stored[oid] = data
        self._bytes(200, b"", {})

    def verify(self, oid: str) -> None:
        data = self.hub.stored.get(oid)
        if data is None or _oid(data) != oid or len(data) != json.loads(self.body)["size"]:
            self.hub.stored.pop(oid, None)
            self._json(422, {"error": "the object does not match its hash"})
            return
        self._json(200, {})

    def commit(self, name: str, revision: str) -> None:
        if not self._may_write():
            return
        found = self._commit_at(name, revision)
        if found is None:
            return
        files = dict(found[1])
        for line in self.body.decode().splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header" and value.get("parentCommit", found[0]) != found[0]:
                self._json(412, {"error": "A commit has happened since. Please refresh"})
                return
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if item["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        oid = self.hub.repositories[name].commit(files)
        url = f"{self.hub.url}/datasets/{name}/commit/{oid}"
        self._json(200, {"commitUrl": url, "commitOid": oid, "success": True})

    def commits(self, name: str, revision: str) -> None:
        found = self._commit_at(name, revision)
        if found is not None:
            stated = {"id": found[0], "title": "a commit", "message": "", "authors": []}
            self._json(200, [{**stated, "date": "2026-01-02T03:04:05.000Z"}])

    def tree(self, name: str, revision: str) -> None:
        found = self._commit_at(name, revision)
        if found is not None:
            rows = [_row(path, data) for path, data in found[1].items()]
            for path in self.hub.repositories[name].listed:
                rows.append(_row(path, b"data of a path that escapes"))
            self._json(200, rows)

    def paths_info(self, name: str, revision: str) -> None:
        found = self._commit_at(name, revision)
        if found is not None:
            paths = parse_qs(self.body.decode())["paths"]
            self._json(200, [_row(path, found[1][path]) for path in paths if path in found[1]])

    def resolve(self, name: str, revision: str, path: str) -> None:
        found = self._commit_at(name, revision)
        if found is None:
            return
        headers = {"X-Repo-Commit": found[0]}
        if path in self.hub.repositories[name].listed:
            data = b"data of a path that escapes"
        elif path in found[1]:
            data = found[1][path]
        else:
            self._json(404, {"error": "no file"}, {**headers, "X-Error-Code": "EntryNotFound"})
            return
        if is_lfs(path):
            self.hub.stored[_oid(data)] = data
            headers["X-Linked-Etag"] = f'"{_oid(data)}"'
            headers["X-Linked-Size"] = str(len(data))
            headers["Location"] = f"{self.hub.storage_url}/storage/{_oid(data)}"
            self._bytes(302, b"", headers)
            return
        self._file(data, {**headers, "ETag": f'"{_blob(data)}"'})

    def storage(self, oid: str) -> None:
        self._file(self.hub.stored[oid], {"ETag": f'"{oid}"'})

    def _file(self, data: bytes, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._bytes(206 if start else 200, data[start:], headers)


def _row(path: str, data: bytes) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _blob(data)}
    if is_lfs(path):
        row["lfs"] = {"oid": _oid(data), "size": len(data), "pointerSize": 130}
    return row


_REPOSITORY = r"(?P<name>[\w.-]+/[\w.-]+)"
_REVISION = r"(?P<revision>[^/]+)"
_ROUTES = (
    (("POST",), r"/api/repos/create", _Handler.create),
    (("POST",), r"/api/validate-yaml", _Handler.validate_yaml),
    (("GET",), rf"/api/datasets/{_REPOSITORY}", _Handler.info),
    (("GET",), rf"/api/datasets/{_REPOSITORY}/revision/{_REVISION}", _Handler.info),
    (("POST",), rf"/api/datasets/{_REPOSITORY}/preupload/{_REVISION}", _Handler.preupload),
    (("POST",), rf"/datasets/{_REPOSITORY}\.git/info/lfs/objects/batch", _Handler.batch),
    (("PUT",), r"/storage/(?P<oid>\w+)", _Handler.store),
    (("POST",), r"/verify/(?P<oid>\w+)", _Handler.verify),
    (("POST",), rf"/api/datasets/{_REPOSITORY}/commit/{_REVISION}", _Handler.commit),
    (("GET",), rf"/api/datasets/{_REPOSITORY}/commits/{_REVISION}", _Handler.commits),
    (("GET",), rf"/api/datasets/{_REPOSITORY}/tree/{_REVISION}", _Handler.tree),
    (("POST",), rf"/api/datasets/{_REPOSITORY}/paths-info/{_REVISION}", _Handler.paths_info),
    (
        ("GET", "HEAD"),
        rf"/datasets/{_REPOSITORY}/resolve/{_REVISION}/(?P<path>.+)",
        _Handler.resolve,
    ),
    (("GET", "HEAD"), r"/storage/(?P<oid>\w+)", _Handler.storage),
)
