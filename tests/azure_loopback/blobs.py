"""Block blobs by SAS, kept in a folder."""

from __future__ import annotations

import base64
import hashlib
import secrets
import shutil
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree import ElementTree as ET

from tests.azure_loopback.messages import Request, Response

if TYPE_CHECKING:
    from pathlib import Path

VERSION = {"x-ms-version": "2025-01-05"}
HTTP_TIME = "%a, %d %b %Y %H:%M:%S GMT"


@dataclass(frozen=True)
class Upload:
    """One blob that was written: whoever uploads the same bytes twice is seen here."""

    container: str
    blob: str
    sha256: str
    size: int


@dataclass
class Blob:
    """One blob; the bytes are in `file`."""

    file: Path
    metadata: dict[str, str] = field(default_factory=dict)
    etag: str = field(default_factory=lambda: f'"0x{secrets.token_hex(8).upper()}"')
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))


class BlobStore:
    """All storage accounts: container and blob name are enough to tell blobs apart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.blobs: dict[tuple[str, str], Blob] = {}
        self.uploads: list[Upload] = []
        self._blocks: dict[tuple[str, str], dict[str, bytes]] = {}
        self._signatures: dict[str, str] = {}
        self._guard = threading.RLock()
        self.account_key = base64.b64encode(secrets.token_bytes(64)).decode()
        self.key_auth_allowed = True

    def sign(self, container: str, permissions: str = "rcwl") -> str:
        """A SAS token for a container, for an hour."""
        signature = secrets.token_urlsafe(32)
        with self._guard:
            self._signatures[signature] = container
        start, end = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
        times = f"st={_sas_time(start)}&se={_sas_time(end)}"
        return f"sv=2021-08-06&{times}&sr=c&sp={permissions}&sig={signature}"

    def put(self, container: str, name: str, data: bytes) -> None:
        """Put a blob there without a request (what a job writes)."""
        with self._guard:
            self._write(container, name, data, {})

    def put_folder(self, container: str, prefix: str, folder: Path) -> None:
        """Put all files of a folder there without a request."""
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            name = f"{prefix}/{file.relative_to(folder).as_posix()}"
            self.put(container, name, file.read_bytes())

    def copy_out(self, container: str, prefix: str, folder: Path) -> list[Path]:
        """Write all blobs below a prefix into a folder: `prefix` itself may be a file's name."""
        prefix = prefix.strip("/")
        written = []
        with self._guard:
            found = [
                (name, blob)
                for (place, name), blob in self.blobs.items()
                if place == container and (not prefix or f"{name}/".startswith(f"{prefix}/"))
            ]
        for name, blob in found:
            target = folder / (name[len(prefix) :].strip("/") or name.rpartition("/")[2])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(blob.file, target)
            written.append(target)
        return written

    def answer(self, request: Request) -> Response:
        """Answer a request to `*.blob.core.windows.net`."""
        container, _, name = request.path.strip("/").partition("/")
        refused = self._authenticate(request, container)
        if refused is not None:
            return refused
        with self._guard:
            if request.method == "PUT":
                return self._put(request, container, name)
            if request.query.get("comp") == "list":
                return self._list(request, container)
            if request.query.get("restype") == "container":
                return Response(200, headers={**VERSION, "ETag": '"0x1"'})
            return self._get(request, container, name)

    def _authenticate(self, request: Request, container: str) -> Response | None:
        if not self.key_auth_allowed and not request.headers.get("authorization"):
            return _refuse(403, "KeyBasedAuthenticationNotPermitted", "Key based authentication is "
                           "not permitted on this storage account.")  # fmt: skip
        if request.headers.get("authorization", "").startswith(("Bearer ", "SharedKey ")):
            return None
        signature = request.query.get("sig", "")
        # A caller with the account's key signs for single blobs itself; that is not verified.
        if self._signatures.get(signature) == container or request.query.get("sr") == "b":
            return None
        message = "Server failed to authenticate the request. Make sure the signature is right."
        return _refuse(403, "AuthenticationFailed", message)

    def _put(self, request: Request, container: str, name: str) -> Response:
        metadata = {
            key[len("x-ms-meta-") :]: value
            for key, value in request.headers.items()
            if key.startswith("x-ms-meta-")
        }
        match request.query.get("comp"):
            case "metadata":
                return self._set_metadata(container, name, metadata)
            case "block":
                blocks = self._blocks.setdefault((container, name), {})
                blocks[request.query["blockid"]] = request.body
                return Response(201, headers=VERSION)
            case "blocklist":
                data = self._join_blocks(container, name, request.body)
            case _:
                data = request.body
        if request.headers.get("if-none-match") == "*" and (container, name) in self.blobs:
            return _refuse(409, "BlobAlreadyExists", "The specified blob already exists.")
        blob = self._write(container, name, data, metadata)
        digest = hashlib.sha256(data).hexdigest()
        self.uploads.append(Upload(container, name, digest, len(data)))
        return Response(201, headers={**_headers(blob), **VERSION})

    def _set_metadata(self, container: str, name: str, metadata: dict[str, str]) -> Response:
        blob = self.blobs.get((container, name))
        if blob is None:
            return _refuse(404, "BlobNotFound", "The specified blob does not exist.")
        blob.metadata = metadata
        return Response(200, headers={**_headers(blob), **VERSION})

    def _join_blocks(self, container: str, name: str, body: bytes) -> bytes:
        staged = self._blocks.pop((container, name), {})
        order = [node.text or "" for node in ET.fromstring(body)]
        return b"".join(staged[one] for one in order)

    def _write(self, container: str, name: str, data: bytes, metadata: dict[str, str]) -> Blob:
        # Names of blobs are not names of files: `a` and `a/b` can both be blobs.
        file = self._folder / hashlib.sha256(f"{container}/{name}".encode()).hexdigest()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        blob = self.blobs[container, name] = Blob(file, metadata)
        return blob

    def _get(self, request: Request, container: str, name: str) -> Response:
        blob = self.blobs.get((container, name))
        if blob is None:
            return _refuse(404, "BlobNotFound", "The specified blob does not exist.")
        data = blob.file.read_bytes()
        headers = {
            **_headers(blob),
            **VERSION,
            **{f"x-ms-meta-{key}": value for key, value in blob.metadata.items()},
            "Content-Type": "application/octet-stream",
            "x-ms-blob-type": "BlockBlob",
            "Accept-Ranges": "bytes",
        }
        if request.method == "HEAD":
            return Response(200, headers={**headers, "Content-Length": str(len(data))})
        wanted = request.headers.get("x-ms-range") or request.headers.get("range")
        if not wanted:
            return Response(200, data, headers)
        return _part(data, wanted, headers)

    def _list(self, request: Request, container: str) -> Response:
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
        root = ET.Element("EnumerationResults", ContainerName=container)
        listed = ET.SubElement(root, "Blobs")
        folders = set()
        names = sorted(name for place, name in self.blobs if place == container)
        for name in (name for name in names if name.startswith(prefix)):
            head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                folders.add(prefix + head + delimiter)
                continue
            _describe(listed, name, self.blobs[container, name])
        for folder in sorted(folders):
            entry = ET.SubElement(listed, "BlobPrefix")
            ET.SubElement(entry, "Name").text = folder
        ET.SubElement(root, "NextMarker")
        body = ET.tostring(root, "utf-8", xml_declaration=True)
        return Response(200, body, {"Content-Type": "application/xml", **VERSION})


def _describe(parent: ET.Element, name: str, blob: Blob) -> None:
    entry = ET.SubElement(parent, "Blob")
    ET.SubElement(entry, "Name").text = name
    properties = ET.SubElement(entry, "Properties")
    size = blob.file.stat().st_size
    for key, value in {
        **_headers(blob),
        "Content-Length": str(size),
        "Content-Type": "application/octet-stream",
        "BlobType": "BlockBlob",
    }.items():
        # In lists the tag has no quotation marks, unlike in headers.
        ET.SubElement(properties, "Etag" if key == "ETag" else key).text = value.strip('"')
    metadata = ET.SubElement(entry, "Metadata")
    for key, value in blob.metadata.items():
        ET.SubElement(metadata, key).text = value


def _part(data: bytes, wanted: str, headers: dict[str, str]) -> Response:
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last) if last else len(data) - 1, len(data) - 1)
    if start >= len(data):
        return _refuse(416, "InvalidRange", "The range is invalid for the current size.")
    md5 = base64.b64encode(hashlib.md5(data[start : end + 1]).digest()).decode()
    more = {"Content-Range": f"bytes {start}-{end}/{len(data)}", "Content-MD5": md5}
    return Response(206, data[start : end + 1], {**headers, **more})


def _headers(blob: Blob) -> dict[str, str]:
    return {"ETag": blob.etag, "Last-Modified": blob.changed.strftime(HTTP_TIME)}


def _refuse(status: int, code: str, message: str) -> Response:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}'
    headers = {"Content-Type": "application/xml", "x-ms-error-code": code, **VERSION}
    return Response(status, f"{body}</Message></Error>".encode(), headers)


def _sas_time(when: datetime) -> str:
    return quote(when.strftime("%Y-%m-%dT%H:%M:%SZ"), safe="")
