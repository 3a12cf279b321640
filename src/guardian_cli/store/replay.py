"""`guardian replay DIR`: what a scan with these settings would say, from what a store holds."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from guardian_cli.detectors.base import DetectorOptions
from guardian_cli.detectors.model import find_model
from guardian_cli.errors import GuardianError, UsageError
from guardian_cli.lifecycle.clock import utc_stamp
from guardian_cli.lifecycle.model_files import version_finder
from guardian_cli.media.frames import Coverage, MediaFacts
from guardian_cli.media.sources import Source
from guardian_cli.scanning.interruption import Interruption
from guardian_cli.scanning.results import ResultWriter
from guardian_cli.store.frames import BlockFrames
from guardian_cli.store.reader import StoreReader
from guardian_cli.store.rescoring import Rescorer, check_model
from guardian_cli.store.rules import Rules, make_rules
from guardian_cli.store.scores import score_block
from guardian_cli.verdict.policy import conclude, exit_code, judge
from guardian_cli.verdict.result import ScanResult, SourceFailure, Timing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from guardian_cli.console import Console
    from guardian_cli.settings import Settings
    from guardian_cli.store.reader import Block
    from guardian_cli.verdict.policy import FailOn
    from guardian_cli.verdict.result import CategoryVerdict, DetectorReport
    from guardian_cli.verdict.timeline import Sample


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """Everything the command line says; `output` is what stdout gets, `reports` go to files."""

    folder: Path
    output: Literal["table", "json", "jsonl"] = "table"
    reports: tuple[tuple[str, Path], ...] = ()
    frames: bool = False
    model_config: Path | None = None
    fail_on: FailOn = "review"


def run_replay(request: ReplayRequest, settings: Settings, console: Console) -> int:
    """Decide again about every source in a store, and return the exit code.

    Raises UsageError for a folder that is no store and for another model than the store's,
    MissingError where new prompts need a text tower that can't be had.
    """
    if not settings.config.categories:
        raise UsageError(
            "no category is left to judge: guardian.yaml switches them all off",
            hint="guardian --example-config shows every key",
        )
    for warning in settings.warnings:
        console.warn(warning)
    reader = StoreReader(request.folder)
    rows = reader.index()
    if not rows:
        raise UsageError(
            f"{request.folder} holds no source", hint="guardian scan … --store DIR fills it"
        )
    # What is written in the end is sorted by it.
    sources = [Source("file", row.source, row.source) for row in rows]
    replay = Replay(
        settings,
        Rescorer(settings, request.model_config, request.folder, console.note),
        find_models(settings, console),
        keep_frames=request.frames,
    )
    interruption = Interruption()
    writer = ResultWriter(console, sources, request.output, request.reports, frames=request.frames)
    with interruption.watched(), writer:
        try:
            for block in reader.blocks(rows, features=replay.needs_features(reader)):
                check_model(block.provenance, settings, request.model_config, request.folder)
                for result in replay.decide(block):
                    writer.put(result)
                interruption.check()
        except KeyboardInterrupt:
            # What was decided by then is right, if not all there is.
            writer.finish(interrupted=True)
            raise
        return exit_code(writer.finish(), request.fail_on)


def find_models(settings: Settings, console: Console) -> dict[str, str | None]:
    """The digests of the models that a scan would load now, by category, as far as they are found.

    Nothing is loaded.
    """
    options = DetectorOptions(find_version=version_finder(settings, console))
    found = {}
    for name, section in settings.config.categories.items():
        if section.model is not None:
            # Deciding again needs no model: where there is none any more, its name has to do.
            with suppress(GuardianError):
                found[name] = find_model(name, section.model, options)[0].weights
    return found


@dataclass
class Replay:
    """Decides about blocks of stored sources."""

    settings: Settings
    rescorer: Rescorer
    models: Mapping[str, str | None] = field(default_factory=dict)
    keep_frames: bool = False
    _rules: dict[int, Rules] = field(default_factory=dict)

    def needs_features(self, reader: StoreReader) -> bool:
        """Whether some of the prompts are new, so that features are worth reading."""
        return any(
            "features" in self.rules_of(provenance).clip.values()
            for provenance in reader.provenances()
        )

    def rules_of(self, provenance: Mapping[str, Any]) -> Rules:
        """The rules for what one run stored, made once."""
        # By identity: the reader keeps one mapping for each group, and hashing it costs more.
        key = id(provenance)
        if key not in self._rules:
            self._rules[key] = make_rules(provenance, self.settings, self.models)
        return self._rules[key]

    def decide(self, block: Block) -> Iterator[ScanResult]:
        """Yield a result for each source of the block, in its order."""
        started_s = time.perf_counter()
        rules = self.rules_of(block.provenance)
        rescored = self.rescorer.score(block, rules)
        scores = {
            name: score_block(block, rules, name, rescored.get(name)) for name in rules.thresholds
        }
        frames = BlockFrames(block, rules, scores)
        kept = [json.loads(text) for text in block.text("result")]
        durations = [one["coverage"]["duration_s"] or 0.0 for one in kept]
        # The short cut makes no samples, which --frames is there to show.
        calm = {} if self.keep_frames else frames.judge_calm(durations)
        made = {"when": utc_stamp(datetime.now(UTC)), **rules.made()}
        of_streams = made.pop("fingerprint_of_streams")
        # A block is scored as one: each of its sources gets its share of that time.
        each_s = (time.perf_counter() - started_s) / len(block)
        names = ("source", "source_id", "sha256")
        rows = zip(*(block.text(name) for name in names), kept, strict=True)
        for number, (source, source_id, sha256, stored) in enumerate(rows):
            begun_s = time.perf_counter()
            is_stream = stored["source_kind"] == "stream"
            parts: dict[str, Any] = {
                "media": None if stored["media"] is None else MediaFacts(**stored["media"]),
                "coverage": _coverage(stored["coverage"]),
                "detectors": rules.reports(stored["detectors"]),
            }
            if stored["error"] is None:
                parts |= self._judge(parts, frames, number, calm.get(number), is_stream=is_stream)
            else:
                parts |= {"verdict": "error", "reasons": tuple(stored["reasons"])}
                parts |= {"degraded": False, "categories": {}}
                parts["error"] = SourceFailure(**stored["error"])
            yield ScanResult(
                source=source,
                source_id=source_id,
                sha256=sha256,
                timing=Timing(each_s + time.perf_counter() - begun_s, 0.0, 0.0),
                made={**made, "fingerprint": of_streams} if is_stream else made,
                **parts,
            )

    def _judge(
        self,
        parts: Mapping[str, Any],
        frames: BlockFrames,
        number: int,
        calm: Mapping[str, CategoryVerdict] | None,
        *,
        is_stream: bool,
    ) -> dict[str, Any]:
        """The parts of a result that judging makes, and those that it makes otherwise."""
        rules, config = frames.rules, frames.rules.config
        coverage: Coverage = parts["coverage"]
        detectors: tuple[DetectorReport, ...] = parts["detectors"]
        why = [*rules.missing, *frames.undecided(number)]
        timeout_s = config.scan.timeout_s
        if coverage.timed_out and timeout_s != rules.provenance["scan"]["timeout_s"]:
            why.append("it ended by another time-out")
        kind: Literal["video", "image"] = parts["media"].kind if parts["media"] else "video"
        samples: tuple[Sample, ...] = ()
        count = frames.first_count(number)
        if calm is None:
            first, refined = frames.samples(number, with_answers=self.keep_frames)
            # A stream and a picture are never looked at a second time.
            if not is_stream and kind == "video":
                refined, missing = frames.refinement(number, first, refined)
                why += missing
            samples = (*first, *refined)
            count = len(samples)
        elif frames.is_refined(number):
            samples = tuple(frames.samples(number)[0])
        # Without a refinement, or a part of it, that nobody asks for any more.
        if count < frames.count(number):
            detectors = frames.recount(number, detectors, samples)
        # The very arguments of a scan: what differs from it is only where the samples come from.
        common: dict[str, Any] = {
            "policy": config.policy,
            "coverage": coverage,
            "detectors": detectors,
            "kind": kind,
            "offline": bool(rules.provenance["offline"]),
            "needs_rescan": why,
        }
        verdict = (
            conclude(calm, **common)
            if calm is not None
            else judge(first, refined, thresholds=rules.thresholds, every_s=rules.every_s, **common)
        )
        return {
            "verdict": verdict.verdict,
            "reasons": verdict.reasons,
            "degraded": verdict.degraded,
            "categories": verdict.categories,
            "detectors": detectors,
            "coverage": replace(coverage, frames_scored=count),
            "samples": samples if self.keep_frames else None,
            "every_s": rules.every_s,
            "needs_rescan": bool(why),
        }


def _coverage(stored: Mapping[str, Any]) -> Coverage:
    words = {name: tuple(stored[name]) for name in ("notes", "remarks")}
    return Coverage(**{**stored, **words})
