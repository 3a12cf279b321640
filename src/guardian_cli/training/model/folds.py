"""All the networks of one training: a fold each, and the one that is released."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.training.evaluation.measure import FoldResult
from guardian_cli.training.evaluation.regression import Calibration, fit_calibration
from guardian_cli.training.model.loop import Epoch, LoopSettings, fit, judge

if TYPE_CHECKING:
    from guardian_cli.training.data.splits import Fold, SplitPlan
    from guardian_cli.training.model.backbones import Backbone
    from guardian_cli.training.model.bags import Bags
    from guardian_cli.training.model.heads import BagNetwork
    from guardian_cli.training.progress import TrainingProgress
    from guardian_cli.training.run.directory import Workplace


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What the folds found, the released network, and how every network learned."""

    results: tuple[FoldResult, ...]
    network: BagNetwork
    calibration: Calibration
    histories: tuple[tuple[Epoch, ...], ...]


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains one network after another; what an earlier process has finished is not done again."""

    backbone: Backbone
    bags: Bags
    settings: LoopSettings
    place: Workplace
    progress: TrainingProgress

    def train(self, plan: SplitPlan) -> Trained:
        """Train and judge every fold, then the network that is released."""
        folds = [*plan.folds, *([plan.final] if plan.final else [])]
        results: list[FoldResult] = []
        histories: list[tuple[Epoch, ...]] = []
        for number, fold in enumerate(folds):
            last = number == len(folds) - 1
            known = None if last else self.place.read(f"fold-{number}.json")
            if known is None:
                network, known = self._one(number, len(folds), fold)
            results.append(_result(fold, known))
            histories.append(tuple(Epoch(**one) for one in known["history"]))
        calibration = results[-1].calibration
        judged = results[:-1] if plan.final else results
        return Trained(tuple(judged), network, calibration, tuple(histories))

    def _one(self, number: int, count: int, fold: Fold) -> tuple[BagNetwork, dict[str, Any]]:
        epochs = self.settings.epochs
        network, history = fit(
            lambda: self.backbone.build(temporal=max(self.bags.counts) > 1),
            self.bags,
            fold,
            self.settings,
            name=f"network {number}",
            checkpoint=self.place.folder / f"fold-{number}.pt",
            tell=lambda epoch: self.progress.epoch(number, count, epoch, epochs),
        )
        val = judge(network, self.bags, fold.val, self.settings)
        labels = [self.bags.positive[at] for at in fold.val]
        found = {
            "history": [asdict(epoch) for epoch in history],
            "calibration": asdict(fit_calibration(labels, val.bags)),
            "logits": [],
            "temporal": None,
        }
        if fold.test:
            test = judge(network, self.bags, fold.test, self.settings)
            found["logits"] = test.bags.tolist()
            found["temporal"] = None if test.temporal is None else test.temporal.tolist()
        self.place.write(f"fold-{number}.json", found)
        return network, found


def _result(fold: Fold, found: dict[str, Any]) -> FoldResult:
    import numpy as np

    temporal = found["temporal"]
    return FoldResult(
        fold.test,
        np.array(found["logits"], float),
        None if temporal is None else np.array(temporal, float),
        Calibration(**found["calibration"]),
        len(found["history"]),
    )
