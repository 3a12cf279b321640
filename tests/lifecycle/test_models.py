from __future__ import annotations

import pytest

from guardian_cli.config import ModelSection
from guardian_cli.errors import UsageError
from guardian_cli.lifecycle.models import choose_models


def sections(**names: str | None) -> dict[str, ModelSection]:
    return {
        name.replace("_", "-"): ModelSection(category="nsfw", endpoint_name=endpoint)
        for name, endpoint in names.items()
    }


def test_an_endpoint_is_named_after_its_model_or_as_it_is_told() -> None:
    found = choose_models(sections(nsfw_detector=None, other="my-own"), None)
    assert [model.endpoint for model in found] == ["nsfw-detector-endpoint", "my-own"]


def test_an_unknown_model_is_a_usage_error_that_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        choose_models(sections(nsfw_detector=None), "nsfw_detector")
    assert caught.value.hint == "did you mean nsfw-detector?"


@pytest.mark.parametrize("name", ["x" * 33, "ab", "1abc", "a_b", "abc-", "a b c"])
def test_a_name_that_azure_would_refuse_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_models(sections(m=name), "m")
    assert "models.m.endpoint_name" in (caught.value.hint or "")


def test_a_long_model_name_needs_an_endpoint_name() -> None:
    with pytest.raises(UsageError, match="33 characters"):
        choose_models({"m" * 24: ModelSection(category="nsfw")}, None)
