"""How far vLLM has started, from the end of its log. It opens its port only when all of this is done.

The lines are those of vLLM 0.33 and of tqdm (vllm-project/vllm#38820, #36734, #44106); an unknown log says nothing
worse than that it is starting.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

STARTING: Final = Sentence("it is starting")
DOWNLOADING: Final = "downloading"
LOADING: Final = "loading"
COMPILING: Final = "compiling"
ENDING: Final = "ending"

_PHRASES: Final[Mapping[str, Sentence]] = {
    DOWNLOADING: Sentence("its weights are being downloaded"),
    LOADING: Sentence("its weights are being loaded"),
    COMPILING: Sentence("it is being compiled for its GPUs"),
    ENDING: Sentence("it is almost ready"),
}
# The last match in the log counts. The group is a percentage; progress bars are rewritten with carriage returns.
_LINE: Final = re.compile(
    r"(?P<downloading>Fetching \d+ files:\s*(?P<a>\d+)%|\.safetensors:\s*(?P<b>\d+)%)"
    r"|(?P<loading>Starting to load model|Time spent downloading weights"
    r"|Loading safetensors[^\r\n%]{0,80}?(?P<c>\d+)% Completed)"
    r"|(?P<compiling>Model loading took|for vLLM's torch\.compile|Dynamo bytecode|torch\.compile (?:took|takes)"
    r"|Capturing CUDA graphs?[^\r\n%]{0,80}?(?P<d>\d+)%)"
    r"|(?P<ending>Graph capturing finished|init engine .{0,60} took|Starting vLLM API server|Application startup)"
)


def progress(log: str) -> Sentence:
    """Return how far it has started."""
    lines = list(_LINE.finditer(log))
    if not lines:
        return STARTING
    found = lines[-1]
    phase = next(phase for phase in _PHRASES if found[phase])
    percent = next((int(value) for group in "abcd" if (value := found[group])), None)
    if percent is None:
        return _PHRASES[phase]
    return Sentence("{phase} ({percent}%)", phase=_PHRASES[phase], percent=min(percent, 100))
