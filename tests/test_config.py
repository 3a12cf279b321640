"""The configuration: what wins over what, and what a wrong key says."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from examples.write_config_example import example_text

from guardian_cli.errors import ConfigError
from guardian_cli.prompts import READY
from guardian_cli.settings import Settings, load_settings
from guardian_cli.settings_file import read_settings
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, text: str | None = None, **environ: str) -> Settings:
    if text is not None:
        (folder / "guardian.yaml").write_text(text, encoding="utf-8")
    return load_settings(folder=folder, environ=environ)


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    config = load(tmp_path).config
    assert (config.scan.every, config.scan.max_gap_s, config.scan.timeout_s) == (1.0, 2.0, None)
    assert config.scan.detectors == ("clip", "endpoint", "model")
    assert (config.clip.model, config.clip.pretrained) == ("ViT-B-32", "laion2b_s34b_b79k")
    assert (config.fusion.custom, config.fusion.clip, config.fusion.clip_only) == (0.7, 0.3, 0.85)
    assert set(config.categories) == {"nsfw", "violence"}
    assert (config.categories["nsfw"].review, config.categories["nsfw"].block) == (0.5, 0.8)
    assert config.policy.model_dump() == {
        "incomplete": "review",
        "unscored": "review",
        "misconfigured": "review",
        "degraded": "allow",
    }
    assert set(config.models) == {"nsfw-detector", "violence-detector"}


def test_flags_win_over_environment_over_dotenv_over_file(tmp_path: Path) -> None:
    (tmp_path / "guardian.yaml").write_text("azure: {workspace: file, resource_group: file}\n")
    (tmp_path / ".env").write_text("AZURE_ML_WORKSPACE=dotenv\nAZURE_RESOURCE_GROUP=dotenv\n")
    settings = load_settings(
        folder=tmp_path,
        environ={"AZURE_ML_WORKSPACE": "environment", "AZURE_SUBSCRIPTION_ID": "environment"},
        flags={"azure": {"subscription_id": "flag"}},
    )
    azure = settings.config.azure
    assert azure.subscription_id == "flag"
    assert azure.workspace == "environment"
    assert azure.resource_group == "dotenv"


def test_a_file_is_laid_over_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "categories: {nsfw: {review: 0.4}, weapons: {block: 0.9}}\n").config
    assert config.categories["nsfw"].review == 0.4
    assert config.categories["nsfw"].prompts is not None
    assert config.categories["weapons"].block == 0.9
    assert "violence" in config.categories


@pytest.mark.parametrize(
    "text",
    [
        "categories:\n  nsfw:\n    # block: 0.9\n",
        "categories:\n  nsfw:\n    block:\n    prompts:\n",
        "categories:\n  nsfw:\n    prompts:\n      positive:\n      # - a photo\n",
        "models:\n  nsfw-detector:\n    # instance_count: 2\n",
        "models:\n  nsfw-detector:\n    category:\n",
        "scan:\n  every:\n  detectors:\ntarget:\n",
        "categories:\n",
    ],
)
def test_a_key_with_nothing_behind_it_keeps_its_default(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text).config == load_settings(environ={}, folder=tmp_path / "x").config


def test_only_off_drops_a_category_a_model_or_prompts(tmp_path: Path) -> None:
    text = "categories: {violence: off, nsfw: {prompts: no}}\nmodels: {violence-detector: off}\n"
    config = load(tmp_path, text).config
    assert set(config.categories) == {"nsfw"}
    assert config.categories["nsfw"].prompts is None
    assert set(config.models) == {"nsfw-detector"}


@pytest.mark.parametrize(
    "text",
    ["categories: {nsfw: on}\n", "categories: off\n", "scan: off\n", "polcy:\n",
     "categories: {nsfw: {revew: }}\n", "models: {mine: }\n", "categories: {nsfw: 'off'}\n"],
)  # fmt: skip
def test_nothing_else_drops_anything(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"guardian\.yaml:1: "):
        load(tmp_path, text)


@pytest.mark.parametrize("spoilers", ["", "{}", "{block: 0.9}", "{endpoint: ''}"])
def test_a_category_that_nothing_can_score_is_said(tmp_path: Path, spoilers: str) -> None:
    settings = load(tmp_path, f"categories: {{spoilers: {spoilers}}}\n")
    assert "spoilers" in settings.config.categories
    (said,) = settings.warnings
    assert said.startswith("category spoilers has n")
    assert said.endswith(": nothing can score it")
    address = "http://127.0.0.1:1/score"
    assert not load(tmp_path, SPOILERS_MODEL_ENDPOINT=address).warnings


@pytest.mark.parametrize("weapons", ["", "{}", "{review: 0.3}"])
def test_a_ready_category_takes_part_once_it_is_named(tmp_path: Path, weapons: str) -> None:
    settings = load(tmp_path, f"categories: {{weapons: {weapons}, wepons: {{}}}}\n")
    assert set(settings.config.categories) == {"nsfw", "violence", "weapons", "wepons"}
    section, ready = settings.config.categories["weapons"], READY["weapons"]
    assert section.prompts is not None
    assert section.prompts.positive == ready.prompts.positive
    assert section.block == ready.block
    assert section.review == (0.3 if weapons.startswith("{r") else ready.review)
    (said,) = settings.warnings
    assert said.startswith("category wepons ")
    assert said.endswith("(did you mean weapons?)")
    assert "weapons" not in load(tmp_path, "categories: {weapons: off}\n").config.categories


def chosen(folder: Path, *categories: str, text: str = "", **environ: str) -> Settings:
    (folder / "guardian.yaml").write_text(text, encoding="utf-8")
    return load_settings(folder=folder, environ=environ, categories=categories)


def test_categories_that_are_chosen_are_the_only_ones(tmp_path: Path) -> None:
    text = "categories: {nsfw: {review: 0.4}, mine: {prompts: {positive: [a], negative: [b]}}}\n"
    address = "http://127.0.0.1:1/score"
    environ = {"VIOLENCE_MODEL_ENDPOINT": address, "SELF_HARM_MODEL_ENDPOINT": address}
    settings = chosen(tmp_path, "mine", "self-harm", "nsfw", "mine", text=text, **environ)
    assert list(settings.config.categories) == ["mine", "self-harm", "nsfw"]
    assert settings.config.categories["nsfw"].review == 0.4
    assert list(settings.endpoints) == ["self-harm"]
    # That violence is not asked for is what was chosen, and nothing to warn of.
    assert settings.warnings == ()


def test_a_choice_wins_over_what_the_file_switches_off(tmp_path: Path) -> None:
    text = "categories: {nsfw: off, mine: off}\n"
    assert list(chosen(tmp_path, "nsfw", text=text).config.categories) == ["nsfw"]
    with pytest.raises(ConfigError, match="unknown category 'mine'"):
        chosen(tmp_path, "mine", text=text)


def test_an_unknown_choice_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(tmp_path, "wepons", text="categories: {mine: {endpoint: 'http://127.0.0.1:1'}}\n")
    known = ", ".join([*READY, "mine"])
    assert str(caught.value) == f"--categories: unknown category 'wepons'; there are {known}"
    assert caught.value.hint == "did you mean weapons?"
    with pytest.raises(ConfigError, match="no category is named"):
        chosen(tmp_path)


def test_a_cascade_names_a_category_that_is_in_use(tmp_path: Path) -> None:
    config = load(tmp_path, "scan: {cascade: {nsfw: {below: 0.02}}}\n").config
    assert config.scan.cascade["nsfw"].below == 0.02
    with pytest.raises(ConfigError, match=r"guardian\.yaml:1: scan\.cascade\.gore: no category"):
        load(tmp_path, "scan: {cascade: {gore: {below: 0.02}}}\n")
    for wrong in ("{below: 0}", "{below: 1.5}", "{above: 0.9}", "{}", "0.02"):
        with pytest.raises(ConfigError, match=r"guardian\.yaml:1: scan\.cascade\.nsfw"):
            load(tmp_path, f"scan: {{cascade: {{nsfw: {wrong}}}}}\n")
    # What the file says of a category that is not chosen now is no mistake.
    chosen(tmp_path, "violence", text="scan: {cascade: {nsfw: {below: 0.02}}}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scan:\n  evry: 2\n", "guardian.yaml:2: scan.evry: unknown key; did you mean every?"),
        ("scan:\n  every: fast\n", "guardian.yaml:2: scan.every: Input should be a valid number"),
        ('scan:\n  every: "1.0"\n', "guardian.yaml:2: scan.every"),
        ("scan:\n  every: 0\n", "guardian.yaml:2: scan.every"),
        ("scan:\n  every: .nan\n", "guardian.yaml:2: scan.every"),
        ("scan: {detectors: [clip, yolo]}\n", "guardian.yaml:1: scan.detectors.1"),
        (
            "categories:\n  nsfw:\n    revew: 0.1\n",
            "guardian.yaml:3: categories.nsfw.revew: unknown key; did you mean review?",
        ),
        ("categories:\n  nsfw:\n    review: 0.9\n", "review 0.9 is over block 0.8"),
        (
            "categories: {nsfw: {calibration: {points: [[0, 0.1], [1, 0.1]]}}}\n",
            "guardian.yaml:1: categories.nsfw.calibration.points: the points must rise",
        ),
        (
            "categories: {nsfw: {calibration: {points: [[0.1, 0], [1, 1]]}}}\n",
            "the points must go from a fused score of 0 to one of 1",
        ),
        ("categories: {nsfw: {calibration: {scale: -1}}}\n", "calibration.scale"),
        ("polcy: {}\n", "guardian.yaml:1: polcy: unknown key; did you mean policy?"),
        ("fusion: {custom: 0.9, clip: 0.5}\n", "over 1"),
        ("scan: {every: 1}\nscan: {every: 2}\n", "guardian.yaml:2: scan: named twice"),
        ("scan: [\n", "not valid YAML"),
        ("- a\n", "a mapping of keys is expected"),
        ("scan: &a {every: *a}\n", "refers to itself"),
        ("scan:\n  zzz: 1\n", "guardian.yaml:2: scan.zzz: unknown key; the keys here are every,"),
        (
            "scan: {detectors: clip}\n",
            "guardian.yaml:1: scan.detectors: Input should be a valid list",
        ),
        ("target: local\n7: 1\n", "guardian.yaml:2: 7: "),
        (
            "models:\n a: {category: x, endpoint_name: E1}\n b: {category: y, endpoint_name: e1}\n",
            "guardian.yaml:1: models: a and b share the endpoint e1: give one of them",
        ),
        (
            "models: {mine: {category: nsfw, endpoint_name: nsfw-detector-endpoint}}\n",
            "guardian.yaml:1: models: nsfw-detector and mine share the endpoint",
        ),
    ],
)
def test_wrong_files_say_where_and_what(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["scan: 3\n", "scan: [1]\n", "scan: {every: often}\n"])
def test_a_flag_does_not_hide_what_is_wrong_in_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "guardian.yaml").write_text(text)
    layers: list[dict[str, dict[str, float]]] = [{"scan": {}}, {"scan": {"every": 2.0}}]
    for flags in layers:
        with pytest.raises(ConfigError, match=r"guardian.yaml:1: scan"):
            load_settings(folder=tmp_path, environ={}, flags=flags)


def test_the_environment_does_not_hide_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"guardian.yaml:1: azure: "):
        load(tmp_path, "azure: west\n", AZURE_ML_WORKSPACE="here")


def test_a_file_that_a_mount_left_out_is_an_error_and_not_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "guardian.yaml"
    path.symlink_to("nothing.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(environ={}, folder=tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="a folder, not a file"):
        load_settings(environ={}, folder=tmp_path)


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "none.yaml", environ={}, folder=tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path, GUARDIAN_CONFIG=str(tmp_path / "none.yaml"))


def test_the_narrower_key_wins_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NSFW_MODEL_ENDPOINT_KEY=key-for-one\n")
    settings = load(
        tmp_path,
        NSFW_MODEL_ENDPOINT="http://127.0.0.1:1/score",
        VIOLENCE_MODEL_ENDPOINT="http://127.0.0.1:2/score",
        MODEL_ENDPOINT_KEY="key-for-all",
    )
    keys = {name: setting.key for name, setting in settings.endpoints.items()}
    assert keys["nsfw"] is not None
    assert keys["nsfw"].get_secret_value() == "key-for-one"
    assert keys["violence"] is not None
    assert keys["violence"].get_secret_value() == "key-for-all"
    assert "key-for-one" not in repr(settings)
    assert "key-for-all" not in repr(settings)


def test_an_empty_endpoint_switches_the_one_in_the_file_off(tmp_path: Path) -> None:
    text = "categories: {nsfw: {endpoint: 'http://127.0.0.1:1/score'}}\n"
    assert load(tmp_path, text).endpoints["nsfw"].uri == "http://127.0.0.1:1/score"
    assert load(tmp_path, text, NSFW_MODEL_ENDPOINT="").endpoints["nsfw"].uri is None
    assert "violence" not in load(tmp_path, text).endpoints


def test_keys_never_stand_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "categories: {nsfw: {endpoint_key: secret}}\n")
    assert "secret" not in str(caught.value)
    hint = "keys never stand in the file: set NSFW_MODEL_ENDPOINT_KEY in the environment"
    assert caught.value.hint == hint
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "MODEL_ENDPOINT_KEY: secret\n")
    assert caught.value.hint == hint


def test_an_endpoint_without_a_category_is_pointed_out(tmp_path: Path) -> None:
    settings = load(tmp_path, WEAPONS_MODEL_ENDPOINT="http://127.0.0.1:1/score")
    assert len(settings.warnings) == 1
    assert "WEAPONS_MODEL_ENDPOINT" in settings.warnings[0]


def test_max_gap_follows_every(tmp_path: Path) -> None:
    assert load(tmp_path, "scan: {every: 5}\n").config.scan.max_gap_s == 10.0
    assert load(tmp_path, "scan: {every: 5, max_gap: 6.0}\n").config.scan.max_gap_s == 6.0


def test_the_example_shows_every_key_at_its_default(tmp_path: Path) -> None:
    example = REPOSITORY / "guardian.yaml.example"
    shown = load_settings(example, environ={}, folder=tmp_path)
    assert (
        shown.config.model_copy(
            update={"scan": shown.config.scan.model_copy(update={"max_gap": None})}
        )
        == load(tmp_path).config
    )
    assert shown.config.scan.max_gap_s == load(tmp_path).config.scan.max_gap_s
    assert (files("guardian_cli") / example.name).read_text("utf-8") == example_text()
    written = read_settings(example).lines
    assert all(path in written for path in every_key()), "a key is missing from the example"
    assert example.read_text(encoding="utf-8") == example_text()


def every_key() -> list[tuple[str, ...]]:
    config = load_settings(environ={}, folder=REPOSITORY / "none").config
    keys: list[tuple[str, ...]] = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        sections = (
            {(name, key): one for key, one in value.items()}
            if isinstance(value, dict)
            else {(name,): value}
        )
        for at, section in sections.items():
            inner = type(section).model_fields if hasattr(section, "model_dump") else ()
            keys += [(*at, key) for key in inner] or [at]
    return keys


def test_a_section_with_nothing_in_it_keeps_its_defaults(tmp_path: Path) -> None:
    text = "scan:\nfusion:\npolicy:\ncategories:\nmodels:\nazure:\n"
    assert load(tmp_path, text).config == load_settings(environ={}, folder=tmp_path / "x").config


def test_a_wrong_flag_is_named_and_not_the_file(tmp_path: Path) -> None:
    (tmp_path / "guardian.yaml").write_text("scan: {timeout_s: 5.0}\n")
    with pytest.raises(ConfigError, match=r"^--every: Input should be greater than 0$"):
        load_settings(folder=tmp_path, environ={}, flags={"scan": {"every": 0.0}})


def test_shared_parts_of_a_file_are_fine(tmp_path: Path) -> None:
    text = "categories: {nsfw: &a {review: 0.3}, violence: *a}\n"
    assert load(tmp_path, text).config.categories["violence"].review == 0.3


@pytest.mark.parametrize("text", ["A=1\nfoo bar\nB=2\n", "A=1\n=3\nB=2\n", 'A=1\nC="x\nB=2\n'])
def test_a_malformed_line_of_dotenv_is_named_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".env"
    path.write_text(text + "NSFW_MODEL_ENDPOINT=http://127.0.0.1:1/score\n")
    settings = load(tmp_path)
    assert settings.warnings == (f"{path}:2: not NAME=VALUE: the line is not used",)
    assert settings.endpoints["nsfw"].uri == "http://127.0.0.1:1/score"


@pytest.mark.parametrize(
    "line", ["MODEL_ENDPOINT_KEY S3CRET", 'NSFW_MODEL_ENDPOINT_KEY="S3CRET', "AZURE_ML_WORKSPACE x"]
)
def test_a_malformed_line_with_a_name_of_ours_is_an_error(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"A=1\n\n{line}\n")
    with pytest.raises(ConfigError, match=r"\.env:3: not NAME=VALUE") as caught:
        load(tmp_path)
    assert "S3CRET" not in f"{caught.value}{caught.value.hint}"


def test_dotenv_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\ufeffAZURE_ML_WORKSPACE=here\n", encoding="utf-8")
    assert load(tmp_path).config.azure.workspace == "here"


def test_a_model_that_is_named_and_not_asked_is_told(tmp_path: Path) -> None:
    text = "scan: {detectors: [clip]}\ncategories: {nsfw: {model: nsfw-detector@1}}\n"
    said = "categories.nsfw.model has no effect: model is not in scan.detectors"
    assert said in load(tmp_path, text).warnings
    assert not load(tmp_path, "categories: {mine: {model: nsfw-detector@1}}\n").warnings
