"""Where an error of Azure or of its SDK becomes one of guardian's, and nowhere else.

Each message says what failed, on which resource, and why; the hint says what to do about it.

    PlatformError
    ├── NotFoundError           Azure has no such thing
    ├── GroupNotFoundError      not even the resource group or the subscription is there
    ├── QuotaError              the subscription has no room for what was asked for
    └── UnreadableAnswerError   an answer made no sense: what was asked for may have been done
"""

from __future__ import annotations

import contextlib
import json
import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.platform import EndpointBusyError, NameTakenError

if TYPE_CHECKING:
    from collections.abc import Iterator

AGAIN_HINT = "run the same command again: it goes on where it stopped"
CHECK_NAMES_HINT = "check the names and numbers in guardian.yaml"
SIGN_IN_HINT = (
    "az login; or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET; or use a managed "
    "identity"
)
_HINTS = {
    400: f"the request was refused as it is: {CHECK_NAMES_HINT}",
    401: SIGN_IN_HINT,
    403: "the identity lacks a permission; docs/azure.md has a role with all that guardian needs",
    404: "guardian setup --check tells whether the workspace is there",
    429: "Azure asks for fewer requests: wait a minute, then run the same command again",
}
_MAX_REASON_LENGTH = 500
_MAX_SIGN_IN_LENGTH = 160
# Azure has no stable codes for these: its sentences are all there is to tell them by.
_BUSY = re.compile(
    r"in (?:the )?\w*(?:Updat|Creat|Delet|Scal)ing\b|another operation|in progress", re.IGNORECASE
)
_TAKEN = re.compile(
    r"already an endpoint with this name|name (?:is )?already (?:in use|taken)", re.IGNORECASE
)
_QUOTA = re.compile(
    r"Not enough quota available for (?P<type>\S+).*?Current usage/limit: "
    r"(?P<used>\d+)/(?P<limit>\d+)\. Additional needed: (?P<needed>\d+)",
    re.DOTALL,
)
_NO_GROUP = re.compile(r"ResourceGroupNotFound|SubscriptionNotFound|InvalidSubscription")
# What the SDK appends to its messages: codes, targets, context, links to guides.
_APPENDIX = re.compile(r"(Code|Target|Message|Content|Exception Details|Additional Information):")
_SECRETS = re.compile(
    r"(?P<name>\bsig=|\bBearer\s+|\bAccountKey=|\b(?:client_secret|access_token|primaryKey|"
    r"secondaryKey|key)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;)}]{8,}",
    re.IGNORECASE,
)
# What Python raises inside the SDK where a field of an answer is missing or null.
_UNREADABLE = (AttributeError, KeyError, IndexError, TypeError, ValueError)


class NotFoundError(PlatformError):
    """Azure has no such thing, but has what it would stand in."""


class GroupNotFoundError(PlatformError):
    """The resource group or the subscription is not there, or not visible to this identity."""


class QuotaError(PlatformError):
    """The subscription has no room for what was asked for."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            hint="ask for more under Quotas in the Azure portal, remove a deployment "
            "(guardian deploy --prune), or choose another --instance-type",
        )


class UnreadableAnswerError(PlatformError):
    """An answer of Azure made no sense: what was asked for may have been done all the same."""

    def __init__(self, doing: str, why: str) -> None:
        super().__init__(f"{doing}: an answer of Azure could not be read: {why}", hint=AGAIN_HINT)


def sdk_errors() -> tuple[type[Exception], ...]:
    """Return everything that the SDK raises for what Azure answers, or for no answer at all."""
    from azure.core.exceptions import AzureError
    from urllib3.exceptions import HTTPError

    # AzureError is the root of the errors of azure-core, azure-identity and azure-ai-ml; those of
    # requests are OSErrors.
    return (AzureError, HTTPError, OSError, *_UNREADABLE)


def translate(error: Exception, doing: str, resource: str) -> PlatformError:
    """Return what the user is told of an SDK error that came up while `doing` something."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    # azure-identity raises the error of a 401 without any request, and so without a status.
    if isinstance(error, ClientAuthenticationError) and error.status_code is None:
        why = _why_no_token(str(error))
        return PlatformError(f"{doing}: could not sign in to Azure: {why}", hint=SIGN_IN_HINT)
    what, reason = f"{doing} ({resource})", reason_of(error)
    if isinstance(error, _UNREADABLE):
        return UnreadableAnswerError(what, f"{type(error).__name__}: {reason}")
    if not isinstance(error, HttpResponseError):
        refused_here = type(error).__name__ in {"ValidationException", "ValidationError"}
        hint = CHECK_NAMES_HINT if refused_here else f"check the network, then {AGAIN_HINT}"
        return PlatformError(f"{what}: {reason}", hint=hint)

    status = error.status_code or 0
    # An operation that ended badly is told by an answer that is itself a 200.
    message = f"{what}: HTTP {status}: {reason}" if status >= 400 else f"{what}: {reason}"
    hint = _HINTS.get(status, AGAIN_HINT)
    if _NO_GROUP.search(f"{getattr(error.error, 'code', '')} {reason}"):
        return GroupNotFoundError(message, hint=hint)
    if status == 404:
        return NotFoundError(message, hint=hint)
    if _TAKEN.search(reason):
        return NameTakenError(f"{what}: the name is taken: {reason}")
    if _BUSY.search(reason) or status == 409:
        return EndpointBusyError(f"{what}: {reason}")
    if figures := _QUOTA.search(reason):
        return QuotaError(
            f"{what}: not enough quota for {figures['type']}: {figures['used']} of "
            f"{figures['limit']} cores are in use, {figures['needed']} more are needed"
        )
    if "quota" in reason.lower():
        return QuotaError(f"{what}: {reason}")
    return PlatformError(message, hint=hint)


def _why_no_token(text: str) -> str:
    """Say in a few words why nobody is signed in: azure-identity lists all that it has tried."""
    attempts = re.findall(r"^\t\w+: (.*)", text, re.MULTILINE)
    # A credential that is not set up is no news; the last one that was refused is the reason.
    refused = [one for one in attempts if re.search(r"Authentication failed|AADSTS\d", one)]
    if attempts and not refused:
        return "no credential was found"
    line = refused[-1] if refused else (text.splitlines() or ["no reason given"])[0]
    return shorten(mask(line), _MAX_SIGN_IN_LENGTH)


def reason_of(error: Exception) -> str:
    """Return the innermost sentences of an error, on one line; Azure wraps them many times."""
    text = "; ".join(dict.fromkeys(_innermost_messages(_document_of(error))))
    if not text:
        lines = takewhile(lambda line: not _APPENDIX.match(line), str(error).splitlines())
        text = " ".join(list(lines)[:3]) or str(error) or "no reason given"
    return shorten(mask(" ".join(text.split())), _MAX_REASON_LENGTH)


def mask(text: str) -> str:
    """Hide keys, tokens and signatures: an upload that fails is told with its signed address."""
    return _SECRETS.sub(r"\g<name>***", text)


def shorten(text: str, limit: int) -> str:
    """Cut a text to at most `limit` characters, the last of them `…` where some are missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _document_of(error: Any) -> Any:
    """Return the JSON of the answer; else the object that the SDK keeps of an operation's end."""
    # Not every error has a response, and not every response holds JSON, or text at all.
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        return json.loads(error.response.text())

    def as_document(inner: Any) -> dict[str, Any]:
        details = getattr(inner, "details", None) or ()
        message = getattr(inner, "message", None)
        return {"message": message, "details": [as_document(one) for one in details]}

    return as_document(getattr(error, "error", None))


def _innermost_messages(body: Any) -> Iterator[str]:
    """Walk to the messages that stand deepest; a message that has JSON inside is opened."""
    error = body.get("error", body) if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return
    details = error.get("details") or ()
    deeper = [text for one in details for text in _innermost_messages(one)]
    if deeper:
        yield from deeper
        return
    message = error.get("message")
    if not isinstance(message, str) or not message.strip():
        return
    lists: Any = None
    # As in `…, error detail: {"errors": {"VmSize": ["Not enough quota …"]}}`.
    with contextlib.suppress(AttributeError, ValueError):
        lists = json.loads(message[message.index("{") :]).get("errors")
    parts = lists.values() if isinstance(lists, dict) else ()
    inner = [str(text) for part in parts if isinstance(part, list) for text in part]
    yield from inner or [message]
