"""What each viewer was last shown of each feature, to be held against the truth when a run is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.load.digest import Digest
from harness.load.voters import VoterAudiences
from harness.measure.plan import VotePlan
from harness.net.reads import Batch

if TYPE_CHECKING:
    from harness.load.evidence import Evidence

__all__ = ["Shown"]

_EXAMPLES = 20


class Shown:
    """Of so many slots. -1 where nothing was shown yet."""

    def __init__(self, plan: VotePlan, slots: int) -> None:
        self._plan = plan
        self._count = np.full((len(plan.features), slots), -1, np.int64)

    def see(self, batch: Batch, digest: Digest) -> None:
        """What was read, in the order of reading: the last one stays."""
        feature, count = digest.shown(batch.message)
        ours = feature >= 0
        self._count[feature[ours], batch.slot[ours]] = count[ours]

    def compare(self, counts: Mapping[str, int], slots: Sequence[int], audiences: VoterAudiences, evidence: Evidence) -> None:
        """Write down how many of these slots were last shown something else than the true number of votes of each feature.

        Nothing is asked of whoever cast the last vote on a feature: its session learns that count from the API's answer.
        """
        plan, there = self._plan, np.array(slots, np.int64)
        pairs = wrong = unseen = 0
        examples: list[dict[str, Any]] = []
        for index, feature in enumerate(plan.features):
            last = plan.by_feature(feature, plan.offset(plan.count))
            if feature not in counts or last is None or not len(there):
                continue
            aside = audiences.of(plan.cast(last).voter)
            asked = there[~np.isin(there, np.concatenate([aside.excluded, aside.optional]))]
            seen = self._count[index, asked]
            pairs += len(asked)
            unseen += int(np.count_nonzero(seen < 0))
            off = asked[(seen >= 0) & (seen != counts[feature])]
            wrong += len(off)
            named = off[: max(0, _EXAMPLES - len(examples))]
            examples += [{"viewer": evidence.viewer(int(slot)), "feature": feature, "shown": int(self._count[index, slot]),
                          "true": counts[feature]} for slot in named]  # fmt: skip
        evidence.record("counts", pairs=pairs, wrong=wrong, unseen=unseen, examples=examples)
