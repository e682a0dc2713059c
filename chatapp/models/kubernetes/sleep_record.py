"""What the replicas of the chat know together about a model that sleeps, and what to do next. Pure: no request.

It is in the data of one ConfigMap, which each replica changes only if it still has the version that it read. So the
replicas agree without a leader: a question that is noted first keeps the model awake, and a replica that wants it to
sleep at the same time reads again. The workload's scale follows the record.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any, Final

from chatapp.models.kubernetes.fields import at, text

USUAL_SECONDS: Final = 600
"""Before a wake was measured: a new GPU node takes 2 to 4 minutes, vLLM's image of 8 GB, weights of 10 GB and their
compilation the rest (vllm-project/vllm#38820 and docs/operate.md)."""
MEASURED: Final = 5
"""How many of the last wakes are kept."""
SETTLE_MS: Final = 6000
"""After a wake begins: by then each request of another replica to scale down, which the wake overtook, has ended."""
_LONGEST_WAKE_MS = 6 * 3600 * 1000


class SleepState(StrEnum):
    """What the replicas want of the model."""

    AWAKE = "awake"
    ENDING = "ending"  # it is to be scaled to zero
    ASLEEP = "asleep"
    WAKING = "waking"  # it is to be scaled up, or was and is not ready yet


class Step(StrEnum):
    """What a replica does next."""

    NOTHING = "nothing"
    END = "end"
    WAKE = "wake"  # office hours began
    SCALE_DOWN = "scale down"
    NOTE_ASLEEP = "note asleep"
    SCALE_UP = "scale up"
    NOTE_AWAKE = "note awake"


@dataclass(frozen=True, slots=True)
class SleepRecord:
    """The record. Times in milliseconds since the epoch, 0 where nothing was noted yet.

    Attributes:
        version: of the ConfigMap.
        since_ms: when the state was entered.
        used_ms: the last use, noted at most once a minute by each replica.
        took: seconds that the last wakes took, the newest last.
        was_asleep: it is asleep, or wakes from that. Only then a wake is measured: a question that comes while the
            model is to be scaled down can keep it up, which takes seconds.
    """

    version: str = ""
    state: SleepState = SleepState.AWAKE
    since_ms: int = 0
    used_ms: int = 0
    took: tuple[int, ...] = ()
    was_asleep: bool = False

    @classmethod
    def of(cls, configmap: object) -> SleepRecord:
        """Read a ConfigMap; what is missing or invalid has its default."""
        data = at(configmap, "data")
        state = text(at(data, "state"))
        took = [int(part) for part in text(at(data, "took")).split(",") if part.isdecimal() and len(part) < 6]
        return cls(
            version=text(at(configmap, "metadata", "resourceVersion")),
            state=SleepState(state) if state in set(SleepState) else SleepState.AWAKE,
            since_ms=_number(at(data, "since")),
            used_ms=_number(at(data, "used")),
            took=tuple(took[-MEASURED:]),
            was_asleep=text(at(data, "wasAsleep")) == "true",
        )

    def change(self) -> dict[str, Any]:
        """Return the change that stores it, if the ConfigMap still has its version."""
        data = {"state": self.state.value, "since": str(self.since_ms), "used": str(self.used_ms)}
        data |= {"took": ",".join(map(str, self.took)), "wasAsleep": "true" if self.was_asleep else "false"}
        return {"metadata": {"resourceVersion": self.version}, "data": data}

    @property
    def usual_seconds(self) -> int:
        """How long a wake usually takes, in whole minutes."""
        seconds = median(self.took) if self.took else USUAL_SECONDS
        return max(1, round(seconds / 60)) * 60

    def used(self, now_ms: int) -> SleepRecord:
        """Return it after a use, which wakes the model."""
        awake = {SleepState.AWAKE, SleepState.WAKING}
        kept = self if self.state in awake else self.entered(SleepState.WAKING, now_ms)
        return dataclasses.replace(kept, used_ms=max(now_ms, self.used_ms))

    def entered(self, state: SleepState, now_ms: int) -> SleepRecord:
        """Return it in another state."""
        took, woke = self.took, (self.state, state) == (SleepState.WAKING, SleepState.AWAKE)
        if woke and self.was_asleep and now_ms - self.since_ms < _LONGEST_WAKE_MS:
            took = (*took, max(1, (now_ms - self.since_ms) // 1000))[-MEASURED:]
        was_asleep = state is SleepState.ASLEEP or (self.was_asleep and state is SleepState.WAKING)
        return dataclasses.replace(self, state=state, since_ms=now_ms, took=took, was_asleep=was_asleep)

    def next_step(
        self, replicas: int, now_ms: int, idle_ms: int, *, is_ready: bool, opened_ms: int | None = None
    ) -> Step:
        """Return what to do.

        Args:
            replicas: that the workload should have now.
            now_ms: the time.
            idle_ms: without a use, after which the model sleeps.
            is_ready: it can answer.
            opened_ms: when the office hours began, in which it does not sleep; `None`: it may.
        """
        is_idle = opened_ms is None and now_ms - max(self.used_ms, self.since_ms) >= idle_ms
        # A person who scales it down within the hours has it asleep until the next ones, or the next question.
        hours_began = opened_ms is not None and self.since_ms < opened_ms
        match self.state:
            case SleepState.AWAKE if replicas == 0:  # scaled down by a person
                step = Step.NOTE_ASLEEP
            case SleepState.WAKING if is_ready and replicas and now_ms - self.since_ms >= SETTLE_MS:
                step = Step.NOTE_AWAKE
            # While it wakes, no question waits any more: a GPU that comes now would cost for nothing.
            case SleepState.AWAKE | SleepState.WAKING if is_idle:
                step = Step.END
            case SleepState.WAKING if replicas == 0:
                step = Step.SCALE_UP
            case SleepState.ENDING if hours_began:
                step = Step.WAKE
            case SleepState.ENDING:
                step = Step.SCALE_DOWN if replicas else Step.NOTE_ASLEEP
            case SleepState.ASLEEP if replicas:  # scaled up by a person
                step = Step.NOTE_AWAKE
            case SleepState.ASLEEP if hours_began:
                step = Step.WAKE
            case _:
                step = Step.NOTHING
        return step


def _number(value: object) -> int:
    digits = text(value)
    return int(digits) if digits.isdecimal() and len(digits) < 16 else 0
