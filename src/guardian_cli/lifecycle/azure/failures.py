"""The one place where an error of Azure or its SDK becomes one of ours.

Each message says what failed, in which resource, and why; the hint what to do about it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.platform import EndpointBusyError, NameTakenError

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGN_IN_HINT = (
    "az login; or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET; or use a managed "
    "identity"
)
_AGAIN_HINT = "run the same command again: it goes on where it stopped"
_LONGEST_REASON = 500
_LONGEST_SIGN_IN = 160
_BUSY = re.compile(
    r"in (?:the )?\w*(?:Updat|Creat|Delet|Scal)ing\b|another operation|in progress", re.IGNORECASE
)
_TAKEN = re.compile(
    r"already an endpoint with this name|name (?:is )?already (?:in use|taken)", re.IGNORECASE
)
_QUOTA = re.compile(r"quota", re.IGNORECASE)
_FIGURES = re.compile(
    r"Not enough quota available for (?P<type>\S+).*?Current usage/limit: "
    r"(?P<used>\d+)/(?P<limit>\d+)\. Additional needed: (?P<needed>\d+)",
    re.DOTALL,
)


_SECRETS = re.compile(
    r"(?P<name>\bsig=|\bBearer\s+|\bAccountKey=|\b(?:client_secret|access_token|primaryKey|"
    r"secondaryKey|key)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;)}]{8,}",
    re.IGNORECASE,
)


class QuotaError(PlatformError):
    """The subscription has no room for what was asked for."""


# What Python raises inside the SDK when a field of an answer is not there, or is null.
_UNREADABLE = (AttributeError, KeyError, IndexError, TypeError, ValueError)


def is_unreadable(error: Exception) -> bool:
    """Whether the SDK stumbled over an answer: what was asked for may have been done."""
    return isinstance(error, _UNREADABLE)


def sdk_errors() -> tuple[type[Exception], ...]:
    """Return all that the SDK raises for what Azure answers, or does not."""
    from azure.core.exceptions import AzureError
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    # AzureError is the root of azure-core's, azure-identity's and azure-ai-ml's own errors.
    return (AzureError, RequestException, HTTPError, OSError, *_UNREADABLE)


def translate(error: Exception, doing: str, resource: str) -> PlatformError:
    """Return what the user is told of an error that came up while `doing` something."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    if isinstance(error, PlatformError):
        return error
    reason = reason_of(error)
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status is None and isinstance(error, ClientAuthenticationError):
        why = _why_no_token(str(error))
        return PlatformError(f"{doing}: could not sign in to Azure: {why}", hint=SIGN_IN_HINT)
    what = f"{doing} ({resource})"
    if is_unreadable(error):
        reason = f"an answer of Azure could not be read ({type(error).__name__}: {reason})"
        return PlatformError(f"{what}: {reason}", hint=_AGAIN_HINT)
    if status is None and not isinstance(error, HttpResponseError):
        return PlatformError(f"{what}: {reason}", hint=_hint_of_silence(error))
    return _of_answer(status, reason, what)


def _why_no_token(text: str) -> str:
    """Say in a few words why nobody is signed in: azure-identity lists all that it has tried."""
    attempts = re.findall(r"^\t\w+: (.*)", text, re.MULTILINE)
    # What is not there or not set up is no news; what was tried in earnest ends the list.
    tried = [one for one in attempts if re.search(r"Authentication failed|AADSTS\d", one)]
    if attempts and not tried:
        return "no credential was found"
    line = mask((tried or text.splitlines() or ["no reason given"])[-1 if tried else 0])
    return line if len(line) <= _LONGEST_SIGN_IN else line[: _LONGEST_SIGN_IN - 1] + "…"


def _of_answer(status: int | None, reason: str, what: str) -> PlatformError:
    if _TAKEN.search(reason):
        return NameTakenError(f"{what}: the name is taken: {reason}")
    if _BUSY.search(reason) or status == 409:
        return EndpointBusyError(f"{what}: {reason}")
    if _QUOTA.search(reason):
        return _of_quota(reason, what)
    # An operation that ended badly is told by an answer that is itself a 200.
    code = f"HTTP {status}: " if status and status >= 400 else ""
    return PlatformError(f"{what}: {code}{reason}", hint=_HINTS.get(status or 0, _AGAIN_HINT))


_HINTS = {
    400: "the request was refused as it is: check the names and numbers in guardian.yaml",
    401: SIGN_IN_HINT,
    403: "the identity lacks a permission; docs/azure.md has a role with all that guardian needs",
    404: "guardian setup --check tells whether the workspace is there",
    429: "Azure asks for fewer requests: wait a minute, then run the same command again",
}


def _of_quota(reason: str, what: str) -> QuotaError:
    figures = _FIGURES.search(reason)
    if figures:
        reason = (
            f"not enough quota for {figures['type']}: {figures['used']} of {figures['limit']} "
            f"cores are in use, {figures['needed']} more are needed"
        )
    return QuotaError(
        f"{what}: {reason}",
        hint="ask for more under Quotas in the Azure portal, remove a deployment "
        "(guardian deploy --prune), or choose another --instance-type",
    )


def _hint_of_silence(error: Exception) -> str:
    if type(error).__name__ in {"ValidationException", "ValidationError"}:
        return "check the names and numbers in guardian.yaml"
    return f"check the network, then {_AGAIN_HINT}"


def is_missing(error: Exception) -> bool:
    """Whether Azure said that the thing itself is not there, and not what it stands in."""
    from azure.core.exceptions import HttpResponseError

    return (
        isinstance(error, HttpResponseError)
        and error.status_code == 404
        and not missing_group(error)
    )


def was_missing(error: PlatformError) -> bool:
    """Whether one of ours tells that Azure has no such thing, or not even what it stands in."""
    cause = error.__cause__
    return lacked_group(error) or (isinstance(cause, Exception) and is_missing(cause))


def lacked_group(error: PlatformError) -> bool:
    """Whether one of ours tells that the resource group or the subscription is not there."""
    cause = error.__cause__
    return isinstance(cause, Exception) and missing_group(cause)


def missing_group(error: Exception) -> bool:
    """Whether the resource group or the subscription is not there."""
    code = getattr(getattr(error, "error", None), "code", None) or ""
    text = f"{code} {reason_of(error)}"
    return bool(re.search(r"ResourceGroupNotFound|SubscriptionNotFound|InvalidSubscription", text))


def reason_of(error: Exception) -> str:
    """Return the innermost sentences of an error, on one line; Azure wraps them many times."""
    found = list(dict.fromkeys(_sentences(_body_of(error))))
    text = "; ".join(found) if found else _first_lines(str(error))
    text = mask(" ".join(text.split()))
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"


def mask(text: str) -> str:
    """Hide what opens something: an upload that fails is told with its signed address."""
    return _SECRETS.sub(r"\g<name>***", text)


def _body_of(error: Exception) -> Any:
    response = getattr(error, "response", None)
    if response is not None:
        try:
            return json.loads(response.text())
        except (ValueError, TypeError, AttributeError, UnicodeDecodeError):
            pass
    inner = getattr(error, "error", None)
    return _as_document(inner) if inner is not None else None


def _as_document(inner: Any) -> Any:
    """The `error` that the SDK keeps of an operation's end: objects with code and message."""
    details = getattr(inner, "details", None) or ()
    return {
        "error": {
            "code": getattr(inner, "code", None),
            "message": getattr(inner, "message", None),
            "details": [_as_document(one)["error"] for one in details],
        }
    }


def _sentences(body: Any) -> Iterator[str]:
    """Walk to the messages that stand deepest; a message that is JSON inside is opened."""
    if not isinstance(body, dict):
        return
    error = body.get("error", body)
    if not isinstance(error, dict):
        return
    details = [one for one in error.get("details") or () if isinstance(one, dict)]
    deeper = [text for one in details for text in _sentences(one)]
    if deeper:
        yield from deeper
        return
    message = error.get("message")
    if isinstance(message, str) and message.strip():
        yield from _open_message(message)


def _open_message(message: str) -> Iterator[str]:
    start = message.find("{")
    try:
        inner = json.loads(message[start:]) if start >= 0 else None
    except ValueError:
        inner = None
    lists = inner.get("errors") if isinstance(inner, dict) else None
    parts = lists.values() if isinstance(lists, dict) else ()
    texts = [str(text) for part in parts if isinstance(part, list) for text in part]
    yield from texts or [message]


def _first_lines(text: str) -> str:
    """Leave out what the SDK appends: codes, targets, context, links to guides."""
    kept = []
    for line in text.splitlines():
        if re.match(
            r"(Code|Target|Message|Content|Exception Details|Additional Information):", line
        ):
            break
        kept.append(line)
    return " ".join(kept[:3]) or text or "no reason given"
