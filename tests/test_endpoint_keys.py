"""A key goes only to the host that it was written for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from guardian_cli.endpoint_keys import choose_key, origin_of
from guardian_cli.settings import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

OURS, THEIRS = "http://127.0.0.1:18123/score", "https://elsewhere.example/score"
WRITTEN = (
    f"NSFW_MODEL_ENDPOINT={OURS}\nNSFW_MODEL_ENDPOINT_KEY=k\n"
    "NSFW_MODEL_ENDPOINT_KEY_FOR=http://127.0.0.1:18123\nMODEL_ENDPOINT_KEY=k\n"
)


def keys(settings: Settings) -> dict[str, str | None]:
    return {
        name: one.key.get_secret_value() if one.key else None
        for name, one in settings.endpoints.items()
    }


@pytest.mark.parametrize(
    ("more", "file", "environ", "wanted"),
    [
        ("", "", {}, {"nsfw": "k"}),
        # Another endpoint, wherever it is named, is not lent the key for all.
        (f"VIOLENCE_MODEL_ENDPOINT={THEIRS}\n", "", {}, {"nsfw": "k", "violence": None}),
        ("", f"violence: {{endpoint: '{THEIRS}'}}", {}, {"nsfw": "k", "violence": None}),
        ("", "", {"VIOLENCE_MODEL_ENDPOINT": THEIRS}, {"nsfw": "k", "violence": None}),
        # The address is another now, and the key is not.
        ("", "", {"NSFW_MODEL_ENDPOINT": THEIRS}, {"nsfw": None}),
        (f"NSFW_MODEL_ENDPOINT={THEIRS}\n", "", {}, {"nsfw": None}),
        ("NSFW_MODEL_ENDPOINT=http://127.0.0.1:18124/score\n", "", {}, {"nsfw": None}),
        # A key from the environment is not the file's: what the file says of it does not count.
        (
            "", "", {"NSFW_MODEL_ENDPOINT": THEIRS, "NSFW_MODEL_ENDPOINT_KEY": "mine"},
            {"nsfw": "mine"},
        ),
        # A key for all that a person has set goes to all that have none of their own.
        (f"VIOLENCE_MODEL_ENDPOINT={THEIRS}\n", "", {"MODEL_ENDPOINT_KEY": "all"},
         {"nsfw": "k", "violence": "all"}),
    ],
)  # fmt: skip
def test_a_key_goes_only_to_the_host_that_it_was_written_for(
    tmp_path: Path, more: str, file: str, environ: dict[str, str], wanted: dict[str, str | None]
) -> None:
    (tmp_path / ".env").write_text(WRITTEN + more)
    if file:
        (tmp_path / "guardian.yaml").write_text(f"categories: {{{file}}}\n")
    settings = load_settings(folder=tmp_path, environ=environ)
    assert keys(settings) == wanted
    withheld = [one for one in settings.warnings if "another host" in one]
    assert len(withheld) == list(wanted.values()).count(None)


def test_a_file_of_an_older_guardian_lends_nothing_either(tmp_path: Path) -> None:
    older = WRITTEN.replace("NSFW_MODEL_ENDPOINT_KEY_FOR", "OTHER")
    (tmp_path / ".env").write_text(f"{older}VIOLENCE_MODEL_ENDPOINT={THEIRS}\n")
    settings = load_settings(folder=tmp_path, environ={})
    assert keys(settings) == {"nsfw": "k", "violence": None}


def test_one_key_for_all_serves_whoever_has_none() -> None:
    assert choose_key("A_MODEL_ENDPOINT", THEIRS, {"MODEL_ENDPOINT_KEY": "all"}) == "all"
    assert choose_key("A_MODEL_ENDPOINT", THEIRS, {}) is None


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://Host.example/score?x=1", "https://host.example:443"),
        ("https://host.example:443/", "https://host.example:443"),
        ("http://u:p@h:81/s", "http://h:81"),
        (" https://[x ", "https://[x"),
    ],
)
def test_a_host_is_told_by_scheme_name_and_port(uri: str, origin: str) -> None:
    assert origin_of(uri) == origin
