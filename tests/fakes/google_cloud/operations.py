"""Operations: a change that Google has accepted and not made yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fakes.google_cloud.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]


@dataclass
class Operation:
    """One operation.

    Attributes:
        name: its path, as the API asks for it.
        target: the resource that it changes.
        finish: makes the change, when it ends; may raise an `ApiError`, which is then the operation's.
        polls: how many more times its state is read before it ends.
        at: when it began.
        is_endless: Google makes the change in its own time, and refuses no other meanwhile (TTL policies).
    """

    name: str
    target: str
    finish: Callable[[], object]
    polls: int
    at: float
    is_endless: bool = False
    is_done: bool = False
    error: Json | None = None

    def poll(self) -> None:
        """Read the state once, which lets time pass for it."""
        self.polls -= 1
        if self.polls <= 0 and not self.is_done:
            self.is_done = True
            try:
                self.finish()
            except ApiError as error:
                self.error = error.body["error"]

    def as_json(self, api: str) -> Json:
        """Return the state as the API describes it; each family of APIs has its own form."""
        short = self.name.rpartition("/")[2]
        if api == "compute.v1":
            answer: Json = {
                "kind": "compute#operation",
                "name": short,
                "status": "DONE" if self.is_done else "RUNNING",
                "selfLink": f"https://www.googleapis.com/compute/v1/{self.name}",
                "targetLink": f"https://www.googleapis.com/compute/v1/{self.target}",
            }
            if self.error:
                answer["error"] = {"errors": [{"code": self.error["status"], "message": self.error["message"]}]}
            return answer
        if api == "container.v1":
            answer = {"name": short, "status": "DONE" if self.is_done else "RUNNING", "targetLink": self.target}
            return answer | ({"error": self.error} if self.error else {})
        # The provider reads the name of a field here, where it does not wait for the operation.
        answer = {"name": self.name, "done": self.is_done, "metadata": {"field": self.target}}
        if self.is_done:
            answer |= (
                {"error": self.error} if self.error else {"response": {"name": self.target, **_config(self.target)}}
            )
        return answer


def _config(target: str) -> Json:
    """Return what the answer about a service of Cloud Endpoints has in addition: the ID of its configuration."""
    return {"serviceConfig": {"id": "1"}} if target.startswith("services/") else {}
