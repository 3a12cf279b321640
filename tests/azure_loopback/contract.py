"""Microsoft's OpenAPI, held against what the product sends and what the stand-in answers."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.schemas import Document, SchemaChecker, load_document

if TYPE_CHECKING:
    from tests.azure_loopback.messages import Request, Response

DATA = Path(__file__).resolve().parents[2] / ".." / "shared"
# Addresses that a client takes from an answer and no specification lists, and services of which
# no specification is there.
OPAQUE = re.compile(
    r"/mfeOperation|/operationStatuses/|/providers/Microsoft\.Authorization/|^/subscriptions/[^/]+$|^/metadata/",
    re.IGNORECASE,
)
PROVIDER = re.compile(r"/subscriptions/[^/]+/providers/[^/]+(/\w+)?", re.IGNORECASE)
NAMESPACE = re.compile(r"/providers/(Microsoft\.[A-Za-z]+)/", re.IGNORECASE)


@dataclass(frozen=True)
class Operation:
    """One method of one path in one document; `exact`: it has the version that was asked for."""

    document: Document
    entry: dict[str, Any]
    shared: list[Any]
    exact: bool

    def parameters(self) -> list[tuple[dict[str, Any], Document]]:
        """All parameters, with the document that each is in."""
        found = [*self.entry.get("parameters", []), *self.shared]
        return [self.document.resolve(one) for one in found]


def find_specification() -> Path | None:
    """The folder of the specifications; None where they are not."""
    root = Path(os.environ.get("GUARDIAN_TEST_DATA", DATA)).resolve()
    folder = root / "azure" / "openapi" / "specification"
    return folder if folder.is_dir() else None


class Contract:
    """All documents below a folder, each read when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._versions = _list_versions(folder)

    def check(self, request: Request, response: Response | None) -> list[str]:
        """What is wrong with a request to ARM and with its answer; an empty list when nothing."""
        if OPAQUE.search(request.path):
            return []
        operation, problem = self._find(request)
        if operation is None:
            return [f"{request.method} {request.path}: {problem}"] if problem else []
        where = f"{request.method} {request.path} ({request.query.get('api-version')})"
        problems = _check_query(operation, request) + _check_body(operation, request)
        if response is not None:
            problems += _check_answer(operation, response)
        return [f"{where}: {one}" for one in problems]

    def _find(self, request: Request) -> tuple[Operation | None, str]:
        found = [] if PROVIDER.fullmatch(request.path) else NAMESPACE.findall(request.path)
        namespace = (found[-1] if found else "Microsoft.Resources").lower()
        versions = self._versions.get(namespace)
        if versions is None:
            return None, ""
        asked = request.query.get("api-version")
        if not asked:
            return None, "no api-version"
        for version in sorted(versions, key=lambda one: _distance(one, asked)):
            for file in versions[version]:
                operation = _find_operation(file, request, exact=version == asked)
                if operation is not None:
                    return operation, ""
        return None, "no version of the specification knows this method and path"


@cache
def _list_versions(folder: Path) -> dict[str, dict[str, tuple[Path, ...]]]:
    found: dict[str, dict[str, tuple[Path, ...]]] = {}
    for file in sorted(folder.glob("*/resource-manager/*/*/*/*.json")):
        versions = found.setdefault(file.parts[-4].lower(), {})
        versions[file.parts[-2]] = (*versions.get(file.parts[-2], ()), file)
    return found


def _distance(version: str, asked: str) -> tuple[int, str]:
    def days(text: str) -> int:
        year, month, day = (int(one) for one in text.split("-")[:3])
        return year * 372 + month * 31 + day

    return (0 if version == asked else 1 + abs(days(version) - days(asked)), version)


@cache
def _compile_paths(file: Path) -> list[tuple[re.Pattern[str], int, dict[str, Any]]]:
    paths = load_document(file).content.get("paths", {})
    compiled = []
    for template, entry in paths.items():
        pattern = re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(template.rstrip("/")))
        compiled.append((re.compile(pattern, re.IGNORECASE), -template.count("{"), entry))
    return compiled


def _find_operation(file: Path, request: Request, *, exact: bool) -> Operation | None:
    fitting = [
        (literal, entry)
        for pattern, literal, entry in _compile_paths(file)
        if pattern.fullmatch(request.path.rstrip("/")) and request.method.lower() in entry
    ]
    if not fitting:
        return None
    _, entry = max(fitting, key=lambda one: one[0])
    document = load_document(file)
    return Operation(document, entry[request.method.lower()], entry.get("parameters", []), exact)


def _check_query(operation: Operation, request: Request) -> list[str]:
    if not operation.exact:
        return []
    known = {one["name"] for one, _ in operation.parameters() if one["in"] == "query"}
    # Of the links that a service makes itself only the first page is specified.
    return [f"unknown query {name}" for name in request.query if name not in {*known, "$skip"}]


def _check_body(operation: Operation, request: Request) -> list[str]:
    bodies = [(one, doc) for one, doc in operation.parameters() if one["in"] == "body"]
    if not bodies:
        return []
    parameter, document = bodies[0]
    try:
        body = request.json
    except json.JSONDecodeError:
        return ["the body is no JSON"]
    if body is None:
        return ["there is no body"] if parameter.get("required") else []
    checker = SchemaChecker(operation.exact)
    return checker.check(body, parameter["schema"], document, "body")


def _check_answer(operation: Operation, response: Response) -> list[str]:
    entries = operation.entry["responses"]
    entry = entries.get(str(response.status))
    if entry is None and response.status < 400:
        return [f"no answer {response.status} is specified, but {', '.join(entries)}"]
    entry = entry or entries.get("default")
    if not entry or "schema" not in entry or response.json is None:
        return []
    checker = SchemaChecker(operation.exact, answer=True)
    return checker.check(response.json, entry["schema"], operation.document, "answer")
