"""No URL that is shown holds a secret."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.urls import mask_url

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
SECRET = "S3CRET"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/clip.mp4", "https://host/clip.mp4"),
        ("https://host:8443/a/b.mp4?sig=x#t=3", "https://host:8443/a/b.mp4?…"),
        ("https://host/clip.mp4#t=3", "https://host/clip.mp4?…"),
        ("rtsp://admin:pass@10.0.0.1:554/stream1", "rtsp://10.0.0.1:554/stream1"),
        ("HTTP://me@Host/x", "http://Host/x"),
        ("https://host/@me/x.mp4", "https://host/@me/x.mp4"),
        ("https://[::1]:8080/x?y", "https://[::1]:8080/x?…"),
        ("https://[::1]/@x", "https://[::1]/@x"),
        ("https://host", "https://host"),
        ("https://me:pa/ss@host/x", "https://host/x"),
        ("https://me:pa?ss@host/x", "https://host/x"),
        ("https://me:pa#ss@host/x?y", "https://host/x?…"),
        ("https://a@b:c@host/x", "https://host/x"),
        ("https:me:pass@host/x", "https://host/x"),
        ("https:\\\\me:pass@host\\x", "https://host\\x"),
        ("http://[::1", "http://[::1"),
        (
            "postgresql+psycopg2://me:pass@host:5432/runs?x",
            "postgresql+psycopg2://host:5432/runs?…",
        ),
        ("sqlite:////home/me@work/runs.db", "sqlite:////home/me@work/runs.db"),
        ("videos/a?b#c.mp4", "videos/a?b#c.mp4"),
        ("me@host.mp4", "me@host.mp4"),
        ("-", "-"),
        ("", ""),
    ],
)
def test_examples(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@given(
    scheme=st.sampled_from(["http", "https", "rtsp", "rtsps", "HTTPS"]),
    before=WORDS,
    after=WORDS,
    where=st.sampled_from(
        [
            "{s}://me:{b}{k}{a}@host.example/x.mp4",
            "{s}://{b}{k}{a}@host.example/x.mp4",
            "{s}://host.example/x.mp4?{b}{k}{a}",
            "{s}://host.example:81/x.mp4#{b}{k}{a}",
        ]
    ),
)
def test_no_secret_is_ever_shown(scheme: str, before: str, after: str, where: str) -> None:
    # A bare / ? or # ends the host for whoever connects, unless what stands before it can be none:
    # `me/`, `me:12/` and `me:a@b/` can, `me:pa/` can't.
    password, ends = before + SECRET + after, set("/?#")
    if where.startswith("{s}://{b}") and ends & set(password):
        return
    can_be_a_host = "@" in password or re.match(r"\d*[/?#]", password)
    if where.startswith("{s}://me:{b}") and ends & set(password) and can_be_a_host:
        return
    url = where.format(s=scheme, b=before, k=SECRET, a=after)
    assert SECRET not in mask_url(url)


@given(st.text())
def test_any_text_gives_one_line_without_a_query(text: str) -> None:
    shown = mask_url(f"https://{text}").removeprefix("https://")
    assert not re.search(r"[?#]", shown.removesuffix("?…"))
    assert not re.search(r"[\x00-\x20\x7f]", shown)
    assert len(shown) <= len(text) + 2
    assert mask_url(text) is not None
