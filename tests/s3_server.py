"""As much of S3 as reading needs, on loopback: lists, heads, ranges, and a key to ask with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import md5
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.web_server import send

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.server import BaseHTTPRequestHandler

KEY_ID, SECRET = "AKIDEXAMPLE", "S3CRETS3CRET"
MODIFIED = "2026-11-27T09:00:00.000Z"


@dataclass
class Storage:
    """A page for `serving`: one bucket's objects by their keys."""

    objects: Mapping[str, bytes]
    bucket: str = "uploads"
    fetched: list[str] = field(default_factory=list)

    def __call__(self, page: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(page.path)
        _, bucket, *rest = unquote(parts.path).split("/", 2)
        key, query = "".join(rest), {k: v[0] for k, v in parse_qs(parts.query).items()}
        if KEY_ID not in page.headers.get("Authorization", ""):
            fail(page, 403, "AccessDenied")
        elif bucket != self.bucket:
            fail(page, 404, "NoSuchBucket")
        elif not key:
            send(page, 200, self.listing(query).encode(), Content_Type="application/xml")
        elif key not in self.objects:
            fail(page, 404, "NoSuchKey")
        else:
            self.give(page, key)

    def give(self, page: BaseHTTPRequestHandler, key: str) -> None:
        body, status, more = self.objects[key], 200, {"ETag": etag(self.objects[key])}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", page.headers.get("Range", "")):
            first, last = int(wanted[1]), int(wanted[2] or len(body) - 1)
            more["Content_Range"] = f"bytes {first}-{min(last, len(body) - 1)}/{len(body)}"
            status, body = 206, body[first : last + 1]
        if page.command == "GET":
            self.fetched.append(key)
        send(page, status, body, Last_Modified="Fri, 27 Nov 2026 09:00:00 GMT", **more)

    def listing(self, query: Mapping[str, str]) -> str:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        found, folders = "", dict[str, None]()
        for key, body in sorted(self.objects.items()):
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folders[prefix + rest.split(delimiter)[0] + delimiter] = None
                continue
            found += (
                f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size><ETag>{etag(body)}"
                f"</ETag><LastModified>{MODIFIED}</LastModified></Contents>"
            )
        for folder in folders:
            found += f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
        return (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{self.bucket}</Name><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        )


def etag(body: bytes) -> str:
    return f'"{md5(body).hexdigest()}"'


def fail(page: BaseHTTPRequestHandler, status: int, code: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>signed with {SECRET}</Message></Error>"
    send(page, status, body.encode(), Content_Type="application/xml")


def s3_environment(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
