"""What users are told of Azure's errors: shapes that users have reported, and shapes of our own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
)

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.errors import (
    SIGN_IN_HINT,
    GroupNotFoundError,
    NotFoundError,
    QuotaError,
    UnreadableAnswerError,
    reason_of,
    translate,
)
from guardian_cli.lifecycle.platform import EndpointBusyError, NameTakenError

if TYPE_CHECKING:
    from pathlib import Path


class Answer:
    """As much of a response as the SDK's errors read."""

    reason = "Reason"

    def __init__(self, status: int, body: Any, *, raw: str | None = None) -> None:
        self.status_code = status
        self.headers: dict[str, str] = {}
        self.content_type = "application/json"
        self._text = json.dumps(body) if raw is None else raw

    def text(self, encoding: str | None = None) -> str:
        return self._text

    def body(self) -> bytes:
        return self._text.encode()


def answered(status: int, body: Any = None, *, raw: str | None = None) -> HttpResponseError:
    return HttpResponseError(response=Answer(status, body, raw=raw))


def told(error: Exception) -> PlatformError:
    return translate(error, "creating it", "the-endpoint")


@pytest.fixture(scope="module")
def reported(shared_data: Path) -> dict[str, Any]:
    """Errors as users have got them from Azure, by when they came."""
    path = shared_data / "azure" / "recordings" / "errors_reported_by_users.json"
    if not path.is_file():
        pytest.skip("no recordings")
    found = json.loads(path.read_text(encoding="utf-8"))
    return {one["when"]: one for one in found}


def test_what_users_have_got(reported: dict[str, Any]) -> None:
    quota = reported["PUT deployment, too little quota"]
    error = told(answered(quota["StatusCode"], quota["ResponseBody"]))
    assert isinstance(error, QuotaError)
    assert "Standard_F4s_v2: 0 of 6 cores are in use, 8 more are needed" in str(error)
    taken = reported["PUT endpoint, name taken"]
    error = told(answered(taken["StatusCode"], taken["ResponseBody"]))
    assert isinstance(error, NameTakenError)
    assert "needs to be unique within a region" in str(error)
    busy = reported["PUT deployment while the endpoint is updating"]
    assert isinstance(told(HttpResponseError(message=busy["message"])), EndpointBusyError)
    for when in ("deployment LRO fails, image build", "deployment LRO fails"):
        error = told(HttpResponseError(message=reported[when]["message"]))
        assert type(error) is PlatformError
        assert "Code: None" not in str(error) or "image" in when
    locked = reported["blob PUT with account key or SAS, key auth disabled"]
    error = told(answered(locked["StatusCode"], raw=locked["body"]))
    assert "403" in str(error)
    assert error.hint


def test_the_innermost_sentences_are_shown_once_and_on_one_line() -> None:
    inner = {"errors": {"A": ["first\nline", "second"], "B": ["second"]}, "title": "not this"}
    detail = {"code": "X", "message": f"noise, detail: {json.dumps(inner)}"}
    body = {"error": {"code": "Outer", "message": "not this either", "details": [detail, detail]}}
    assert reason_of(answered(400, body)) == "first line; second"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"error": None},
        {"error": "text"},
        {"error": {"code": None, "message": None, "details": None}},
        {"error": {"message": "", "details": [None, "x", {}]}},
        {"error": {"message": "curly { but no JSON"}},
        {"error": {"message": '{"errors": null}'}},
        {"error": {"message": '{"errors": {"a": null}}'}},
        {"error": {"message": '{"errors": {"a": "text"}}'}},
        {"error": {"message": '{"errors": ["text"]}'}},
        {"Message": "in another spelling"},
        [1],
        "text",
        None,
    ],
)
def test_no_shape_of_an_answer_is_too_odd(body: Any) -> None:
    error = told(answered(500, body))
    assert str(error).startswith("creating it (the-endpoint): HTTP 500: ")
    assert "\n" not in str(error)
    assert error.hint


def test_an_answer_that_is_no_json_is_cut() -> None:
    error = told(answered(502, raw="<html>" + "bad gateway " * 500))
    assert len(str(error)) < 700


def test_what_the_status_alone_says() -> None:
    assert "docs/azure.md has a role" in (told(answered(403, {})).hint or "")
    assert told(answered(401, {})).hint == SIGN_IN_HINT
    assert isinstance(told(answered(409, {})), EndpointBusyError)
    signed_out = told(ClientAuthenticationError(message="no credential\nTo mitigate, read this"))
    assert "could not sign in to Azure" in str(signed_out)
    assert signed_out.hint == SIGN_IN_HINT


@pytest.mark.parametrize(
    ("tried", "why"),
    [
        ("AzureCliCredential: Azure CLI not found on path", "no credential was found"),
        (
            "EnvironmentCredential: Authentication failed: AADSTS7000215: Invalid client secret",
            "Authentication failed: AADSTS7000215: Invalid client secret",
        ),
    ],
)
def test_a_missing_credential_is_one_short_line(tried: str, why: str) -> None:
    """azure-identity's own words: a list of all that it knows, over a kilobyte of it."""
    unset = "WorkloadIdentityCredential authentication unavailable. " + "See the guide. " * 50
    text = (
        "DefaultAzureCredential failed to retrieve a token from the included credentials.\n"
        f"Attempted credentials:\n\tWorkloadIdentityCredential: {unset}\n\t{tried}\n"
        "To mitigate this issue, please refer to the troubleshooting guidelines"
    )
    error = told(ClientAuthenticationError(message=text))
    assert str(error) == f"creating it: could not sign in to Azure: {why}"
    assert (error.hint or "").startswith("az login")
    assert "network" in (told(ServiceRequestError("no route to host")).hint or "")


def test_a_missing_thing_is_not_a_missing_group() -> None:
    gone = {"error": {"code": "ResourceNotFound", "message": "The Resource was not found."}}
    group = {"error": {"code": "ResourceGroupNotFound", "message": "Resource group 'g' …"}}
    assert type(told(answered(404, gone))) is NotFoundError
    assert type(told(answered(404, raw=""))) is NotFoundError
    assert type(told(answered(404, group))) is GroupNotFoundError
    assert type(told(answered(403, gone))) is PlatformError
    assert type(told(ServiceRequestError("404"))) is PlatformError


def test_what_the_sdk_stumbles_over_may_have_been_done() -> None:
    error = told(KeyError("properties"))
    assert isinstance(error, UnreadableAnswerError)
    assert "an answer of Azure could not be read: KeyError: 'properties'" in str(error)
    assert "run the same command again" in (error.hint or "")


SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ"


@pytest.mark.parametrize(
    "text",
    [
        f"Max retries exceeded with url: /c/f?sv=2021&sp=rcw&sig={SECRET}%3D&se=2026 (Caused by …)",
        f"refused: Authorization: Bearer {SECRET}.{SECRET}",
        f"DefaultEndpointsProtocol=https;AccountName=st;AccountKey={SECRET}==;EndpointSuffix=x",
        f'{{"primaryKey": "{SECRET}", "secondaryKey": "{SECRET}"}}',
        f"grant_type=client_credentials&client_secret={SECRET}&scope=x",
    ],
)
def test_no_secret_is_in_a_message(text: str) -> None:
    for error in (
        ServiceRequestError(text),
        HttpResponseError(message=text),
        answered(400, {"error": {"code": "X", "message": text}}),
        ClientAuthenticationError(message=text),
        OSError(text),
    ):
        assert SECRET not in str(told(error))
        assert "***" in str(told(error))
