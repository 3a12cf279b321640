"""The sections of guardian.yaml: each is frozen and knows every key it may have."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from guardian_cli.detectors.registry import check_detector
from guardian_cli.verdict.calibration import Calibration
from guardian_cli.verdict.thresholds import Thresholds

Verdict = Literal["allow", "review", "block"]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
# YAML has lists alone: where a tuple is meant, it may not be strict.
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)]


class _Section(BaseModel):
    # Strict: "0.5" or yes is no number. Our fields called model_… are none of Pydantic's.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _a_key_with_nothing_behind_it_keeps_its_default(cls, data: Any) -> Any:
        # An unknown key stays, to be refused.
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}


class CascadeSection(_Section):
    """Below which score of an offline detector a frame goes to no endpoint of the category."""

    below: Annotated[float, Field(gt=0.0, le=1.0)]


class ScanSection(_Section):
    """How videos are sampled, and by what they are scored."""

    every: Seconds = 1.0
    detectors: Annotated[
        tuple[Annotated[str, AfterValidator(check_detector)], ...],
        Field(strict=False, min_length=1),
    ] = ("clip", "endpoint", "model")
    max_gap: Seconds | None = None
    timeout_s: Seconds | None = None
    memory_mb: Annotated[int, Field(ge=512)] = 4096
    cascade: dict[str, CascadeSection] = Field(default_factory=dict)
    private_addresses: Literal["allow", "refuse"] = "allow"

    @property
    def max_gap_s(self) -> float:
        """The widest stretch, in seconds, that may lie between two scored frames."""
        # One sample may be missed, two in a row may not.
        return self.max_gap if self.max_gap is not None else 2 * self.every


class ClipSection(_Section):
    """Which CLIP looks at the frames."""

    model: str = "ViT-B-32"
    pretrained: str = "laion2b_s34b_b79k"


class FusionSection(_Section):
    """How much the custom models and CLIP count."""

    custom: Unit = 0.7
    clip: Unit = 0.3
    clip_only: Unit = 0.85

    @model_validator(mode="after")
    def _sums_to_one_at_most(self) -> Self:
        # 0.7 + 0.3 may be a rounding error more than 1.
        if self.custom + self.clip > 1.0 + 1e-9:
            raise ValueError("custom and clip together are over 1: a score could leave 0..1")
        return self


class PromptsSection(_Section):
    """What CLIP compares a frame with: the category, and what is easily taken for it."""

    positive: Annotated[Words, Field(min_length=1)]
    negative: Annotated[Words, Field(min_length=1)]


class CalibrationSection(_Section):
    """How a category's fused scores are mapped, and how its `review` rises with a video's length.

    `evaluate --calibrate` writes it; `points` are [fused, calibrated], `every` the sampling
    interval in seconds that `samples` and `scale` belong to, `fitted_to` a digest of what made the
    scores (see `scanning.provenance`): with other prompts or weights they mean something else.
    """

    points: Annotated[
        tuple[Annotated[tuple[Unit, Unit], Field(strict=False)], ...], Field(strict=False)
    ] = ()
    samples: Annotated[int, Field(ge=1)] | None = None
    scale: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    every: Seconds | None = None
    fitted_to: str | None = None

    @field_validator("points")
    @classmethod
    def _points_rise(cls, points: tuple[tuple[float, float], ...]) -> tuple[Any, ...]:
        if points and (len(points) < 2 or points[0][0] != 0.0 or points[-1][0] != 1.0):
            raise ValueError("the points must go from a fused score of 0 to one of 1")
        if any(a[0] >= b[0] or a[1] >= b[1] for a, b in pairwise(points)):
            raise ValueError("the points must rise, in both numbers")
        return points


class CategorySection(_Section):
    """One category: its thresholds, its prompts, and its custom model: an endpoint, or one here.

    `model` is MODEL@champion, MODEL@VERSION, or the folder of a model.
    """

    review: Unit = 0.5
    block: Unit = 0.8
    calibration: CalibrationSection | None = None
    prompts: PromptsSection | None = None
    endpoint: str | None = None
    model: Annotated[str, Field(min_length=1)] | None = None

    @property
    def thresholds(self) -> Thresholds:
        """What its scores are compared with, and on which scale."""
        one = self.calibration
        calibration = None if one is None else Calibration(one.points, one.samples, one.scale)
        return Thresholds(self.review, self.block, calibration=calibration)

    @field_validator("prompts", mode="before")
    @classmethod
    def _prompts_may_be_off(cls, prompts: Any) -> Any:
        return None if prompts is False else prompts

    @model_validator(mode="after")
    def _review_is_not_over_block(self) -> Self:
        if self.review > self.block:
            raise ValueError(f"review {self.review} is over block {self.block}")
        return self


class PolicySection(_Section):
    """What a scan is at least when something is missing."""

    incomplete: Verdict = "review"
    unscored: Verdict = "review"
    misconfigured: Verdict = "review"
    degraded: Verdict = "allow"


class GateSection(_Section):
    """What a version must pass before `deploy --promote` gives it everything.

    `data` is a CSV as `evaluate` takes it, or a folder; `max_flips` a number or a percentage.
    """

    data: Annotated[str, Field(min_length=1)]
    max_flips: int | str | None = None
    min_auc: Unit | None = None

    @field_validator("max_flips", mode="before")
    @classmethod
    def _number_or_share(cls, value: object) -> object:
        is_number = type(value) is int and value >= 0
        share = re.fullmatch(r"(\d+(?:\.\d+)?)%", value) if isinstance(value, str) else None
        if value is None or is_number or (share and float(share[1]) <= 100):
            return value
        raise ValueError("neither a number of flips nor a percentage, such as 5 or 2%")

    @model_validator(mode="after")
    def _demands_something(self) -> Self:
        if self.max_flips is None and self.min_auc is None:
            raise ValueError("a gate needs max_flips, min_auc or both")
        return self


class RetrainSection(_Section):
    """When `guardian retrain` trains: on new labels, on drift, or after so many days."""

    data: Annotated[str, Field(min_length=1)]
    min_new_labels: Annotated[int, Field(ge=1)] = 100
    on: Annotated[
        tuple[Literal["labels", "drift", "age"], ...], Field(strict=False, min_length=1)
    ] = ("labels",)
    results: str | None = None
    reference: str | None = None
    max_age_days: Annotated[int, Field(ge=1)] = 180

    @model_validator(mode="before")
    @classmethod
    def _yaml_reads_on_as_true(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        # To YAML 1.1 a bare `on` is a boolean.
        return {"on" if key is True else key: value for key, value in data.items()}

    @model_validator(mode="after")
    def _drift_needs_results(self) -> Self:
        if "drift" in self.on and (self.results is None or self.reference is None):
            raise ValueError("on: drift needs `results` and `reference`, as monitor takes them")
        return self


class ModelSection(_Section):
    """A custom model and what it runs on."""

    category: str
    instance_type: str = "Standard_DS3_v2"
    instance_count: Annotated[int, Field(ge=1)] = 1
    endpoint_name: str | None = None
    gate: GateSection | None = None
    retrain: RetrainSection | None = None

    def endpoint(self, model: str) -> str:
        """The name of this model's endpoint."""
        return self.endpoint_name or f"{model}-endpoint"


class AzureSection(_Section):
    """Where in Azure the workspace is."""

    subscription_id: str | None = None
    resource_group: str | None = None
    workspace: str | None = None
    location: str | None = None


class MonitorSection(_Section):
    """Limits of `guardian monitor` that are set by hand; others come from the reference."""

    psi: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    wasserstein: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    min_samples: Annotated[int, Field(ge=1)] = 50


class Config(_Section):
    """All of guardian.yaml."""

    target: Literal["local", "azure"] = "local"
    scan: ScanSection = ScanSection()
    clip: ClipSection = ClipSection()
    fusion: FusionSection = FusionSection()
    categories: dict[str, CategorySection] = Field(default_factory=dict)
    policy: PolicySection = PolicySection()
    models: dict[str, ModelSection] = Field(default_factory=dict)
    azure: AzureSection = AzureSection()
    monitor: MonitorSection = MonitorSection()

    @field_validator("categories", "models", mode="before")
    @classmethod
    def _off_drops_one_and_nothing_keeps_its_defaults(cls, named: Any) -> Any:
        if not isinstance(named, dict):
            return named
        # `violence: off` is False in YAML.
        return {k: {} if v is None else v for k, v in named.items() if v is not False}

    @field_validator("models")
    @classmethod
    def _no_two_models_share_an_endpoint(
        cls, models: dict[str, ModelSection]
    ) -> dict[str, ModelSection]:
        owners: dict[str, str] = {}
        for name, section in models.items():
            endpoint = section.endpoint(name)
            # Azure and some file systems know no capitals.
            other = owners.setdefault(endpoint.lower(), name)
            if other != name:
                raise ValueError(
                    f"{other} and {name} share the endpoint {endpoint}: "
                    "give one of them an endpoint_name of its own"
                )
        return models
