"""Microsoft's OpenAPI and recordings, held against the stand-in and what is sent to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.azure_loopback.caller import OLD_VERSION, Caller
from tests.azure_loopback.contract import Contract, find_specification
from tests.azure_loopback.messages import Request, Response

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azure_loopback.azure import LoopbackAzure


@pytest.fixture
def contract(shared_data: Path) -> Contract:
    """The specifications."""
    folder = find_specification()
    if folder is None:
        pytest.skip("no specifications beside the test media")
    return Contract(folder)


@pytest.fixture
def recorded(shared_data: Path) -> list[Any]:
    """What Microsoft recorded of the real service."""
    file = shared_data / "azure" / "recordings" / "online_endpoint_lifecycle.json"
    if not file.is_file():
        pytest.skip("no recordings beside the test media")
    entries: list[Any] = json.loads(file.read_text(encoding="utf-8"))["Entries"]
    return entries


def request_of(entry: Any) -> Request:
    address = urlsplit(entry["RequestUri"])
    body = b"" if entry["RequestBody"] is None else json.dumps(entry["RequestBody"]).encode()
    query = dict(parse_qsl(address.query))
    return Request(entry["RequestMethod"], address.netloc, address.path, query, {}, body)


def test_what_was_recorded_fits_the_contract(contract: Contract, recorded: list[Any]) -> None:
    for entry in recorded:
        request = request_of(entry)
        if request.host != "management.azure.com" or "/token" in request.path:
            continue
        answered = Response(entry["StatusCode"], json.dumps(entry["ResponseBody"]).encode())
        assert contract.check(request, answered) == []


def put_endpoint(body: Any, version: str = OLD_VERSION, name: str = "live") -> Request:
    path = (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    )
    query = {"api-version": version} if version else {}
    data = json.dumps(body).encode()
    return Request("PUT", "", f"{path}/onlineEndpoints/{name}", query, {}, data)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"location": "l"}, "no properties"),
        ({"properties": {"authMode": "Key"}}, "no location"),
        ({"location": "l", "properties": {}}, "no authMode"),
        ({"location": "l", "properties": {"authMode": "Sesame"}}, "'Sesame' is none of"),
        ({"location": 1, "properties": {"authMode": "Key"}}, "int instead of string"),
        (
            {"location": "l", "properties": {"authMode": "Key", "traffic": {"a": "100"}}},
            "str instead of integer",
        ),
        ({"location": "l", "properties": {"authMode": "Key", "trafic": {}}}, "unknown trafic"),
    ],
)
def test_a_body_that_is_wrong_is_found(contract: Contract, body: Any, problem: str) -> None:
    (found,) = contract.check(put_endpoint(body), None)
    assert problem in found


def test_a_path_a_version_and_an_answer_that_are_wrong_are_found(contract: Contract) -> None:
    good = {"location": "l", "properties": {"authMode": "Key"}}
    assert contract.check(put_endpoint(good), None) == []
    (found,) = contract.check(put_endpoint(good, name="live/nothing"), None)
    assert "no version of the specification knows" in found
    (found,) = contract.check(put_endpoint(good, version=""), None)
    assert "no api-version" in found
    (found,) = contract.check(put_endpoint(good), Response(202))
    assert "no answer 202 is specified" in found
    wrong = Response(200, json.dumps({"location": "l", "properties": {}}).encode())
    (found,) = contract.check(put_endpoint(good), wrong)
    assert "answer.properties: no authMode" in found


def test_a_wrong_request_fails_whoever_uses_the_stand_in(
    contract: Contract, azure: LoopbackAzure, caller: Caller
) -> None:
    caller.put_endpoint("live", wrong=1)
    with pytest.raises(AssertionError, match="unknown wrong"):
        azure.check()
    azure.requests.clear()
    address = f"https://management.azure.com{caller.ws}/onlineEndpoints/live"
    signed = {"Authorization": f"Bearer {caller.token}"}
    caller.send("PUT", f"{address}?api-version={OLD_VERSION}", data=b"{", headers=signed)
    with pytest.raises(AssertionError, match="the body is no JSON"):
        azure.check()
    azure.requests.clear()
    caller.arm("GET", f"{caller.ws}/nothing")
    with pytest.raises(AssertionError, match="no such request in the stand-in"):
        azure.check()
    azure.requests.clear()
    azure.mistakes.clear()


def shape(document: Any) -> Any:
    """The names in a document, without what is only named by its user."""
    if not isinstance(document, dict):
        return None
    free = {"traffic", "tags", "mirrorTraffic", "environmentVariables", "flavors", "identity"}
    return {key: None if key in free else shape(one) for key, one in sorted(document.items())}


def test_answers_have_the_shape_of_those_that_were_recorded(
    recorded: list[Any], azure: LoopbackAzure, caller: Caller, model: Path
) -> None:
    caller.follow(caller.put_endpoint("live"))
    live = caller.put_deployment("live", "one", model="m", description="d", properties={})
    pairs = {
        ("PUT", "/onlineEndpoints/online-ept-10cd4ed17147449"): caller.put_endpoint("other"),
        ("GET", "/onlineEndpoints/online-ept-10cd4ed17147449"): caller.get_endpoint("live"),
        ("GET", "/models/test_978172339514/versions/3"): caller.arm(
            "GET", azure.add_model("nsfw", model), None, "2023-08-01-preview"
        ),
    }
    for (method, path), ours in pairs.items():
        theirs = next(
            entry["ResponseBody"]
            for entry in recorded
            if entry["RequestMethod"] == method and path in entry["RequestUri"].partition("?")[0]
            and entry["RequestUri"].partition("?")[0].endswith(path)
        )  # fmt: skip
        missing = set(flatten(shape(theirs))) - set(flatten(shape(ours.json())))
        assert not missing
    caller.follow(live)


def flatten(names: Any, prefix: str = "") -> list[str]:
    found = []
    for name, inner in (names or {}).items():
        found += [prefix + name, *flatten(inner, f"{prefix}{name}.")]
    return found
