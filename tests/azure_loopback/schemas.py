"""The JSON schemas of OpenAPI 2 with Microsoft's ways: discriminators, references across files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Schema = dict[str, Any]
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}

# What azure-ai-ml sends against the specification: a number among strings.
SDK_WAYS = {"hash_version"}


@dataclass(frozen=True)
class Document:
    """One file of a specification."""

    file: Path
    content: dict[str, Any] = field(compare=False, repr=False)

    def resolve(self, schema: Schema) -> tuple[Schema, Document]:
        """Follow a reference; what is none is returned as it is."""
        document: Document = self
        while "$ref" in schema:
            place, _, pointer = schema["$ref"].partition("#")
            if place:
                document = load_document((document.file.parent / place).resolve())
            schema = document.content
            for part in pointer.strip("/").split("/"):
                schema = schema[part]
        return schema, document

    def variant(self, base: Schema, value: str) -> Schema | None:
        """The definition that stands for a value of a discriminator."""
        definitions: dict[str, Schema] = self.content.get("definitions", {})
        base_names = {name for name, one in definitions.items() if one is base}
        for name, one in definitions.items():
            parents = {ref["$ref"].rpartition("/")[2] for ref in one.get("allOf", [])}
            if one.get("x-ms-discriminator-value", name) == value and parents & base_names:
                return one
        return None


@cache
def load_document(file: Path) -> Document:
    """Read a file once."""
    return Document(file, json.loads(file.read_text(encoding="utf-8")))


@dataclass
class SchemaChecker:
    """Compares a value with a schema.

    exact: the schema is of the version that is meant, so what it does not list is wrong.
    answer: the value comes from the service, which may add properties, and leaves out what can
    only be written.
    """

    exact: bool
    answer: bool = False
    problems: list[str] = field(default_factory=list)

    def check(self, value: Any, schema: Schema, document: Document, where: str) -> list[str]:
        """All that is wrong with a value."""
        self._check(value, schema, document, where)
        return [*dict.fromkeys(self.problems)]

    def _say(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")

    def _check(self, value: Any, schema: Schema, document: Document, where: str) -> None:
        schema, document = document.resolve(schema)
        if value is None:
            return  # Azure itself answers null for whatever is not there
        kind = schema.get("type") or ("object" if "properties" in schema else None)
        if kind is not None and not _is_of(value, kind):
            self._say(where, f"{type(value).__name__} instead of {kind}")
            return
        if isinstance(value, dict):
            self._check_object(value, schema, document, where)
        elif isinstance(value, list):
            for number, one in enumerate(value):
                self._check(one, schema.get("items", {}), document, f"{where}[{number}]")
        else:
            self._check_scalar(value, schema, where)

    def _check_scalar(self, value: Any, schema: Schema, where: str) -> None:
        names = {str(one).lower() for one in schema.get("enum", [])}
        if self.exact and names and str(value).lower() not in names:
            self._say(where, f"{value!r} is none of {', '.join(sorted(names))}")
        pattern = schema.get("pattern")
        if pattern and isinstance(value, str) and not re.search(pattern, value):
            self._say(where, f"does not match {pattern}")
        if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
            self._say(where, f"longer than {schema['maxLength']}")
        if isinstance(value, str) and len(value) < schema.get("minLength", 0):
            self._say(where, f"shorter than {schema['minLength']}")

    def _check_object(
        self, value: dict[str, Any], schema: Schema, document: Document, where: str
    ) -> None:
        parts = _flatten(schema, document)
        for part, home in list(parts):
            kind = value.get(part.get("discriminator", ""))
            variant = home.variant(part, str(kind)) if kind else None
            if variant is not None:
                parts = _flatten(variant, home)
        known: dict[str, tuple[Schema, Document]] = {}
        for part, home in parts:
            known.update({name: (one, home) for name, one in part.get("properties", {}).items()})
            for name in part.get("required", []):
                mutable = part.get("properties", {}).get(name, {}).get("x-ms-mutability", ["read"])
                secret = self.answer and "read" not in mutable
                if value.get(name) is None and not secret:
                    self._say(where, f"no {name}")
        self._check_members(value, known, parts, where)

    def _check_members(
        self,
        value: dict[str, Any],
        known: dict[str, tuple[Schema, Document]],
        parts: list[tuple[Schema, Document]],
        where: str,
    ) -> None:
        rest = [(part["additionalProperties"], home) for part, home in parts
                if part.get("additionalProperties")]  # fmt: skip
        for name, one in value.items():
            if name in SDK_WAYS:
                continue
            if name in known:
                self._check(one, *known[name], f"{where}.{name}")
            elif rest and isinstance(rest[0][0], dict):
                self._check(one, *rest[0], f"{where}.{name}")
            elif known and not rest and self.exact and not self.answer:
                self._say(where, f"unknown {name}")


def _is_of(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES.get(kind, (object,)))


def _flatten(schema: Schema, document: Document) -> list[tuple[Schema, Document]]:
    """A schema and all that it is made of."""
    schema, document = document.resolve(schema)
    found = [(schema, document)]
    for part in schema.get("allOf", []):
        found += _flatten(part, document)
    return found
