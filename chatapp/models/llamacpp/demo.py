"""The demo model: SmolLM2, from its package. No account, no download, no GPU.

135 million parameters write fluent English and few true facts. Its settings are the best of an evaluation with 20
everyday questions: docs/demo-model.md has the answers.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any, Final

from chatapp.domain.sentences import Sentence
from chatapp.models import DEFAULT_TIME_LIMITS
from chatapp.models.llamacpp.model import LlamaCppModel
from chatapp.models.llamacpp.server import threads
from chatapp.models.llamacpp.setup import damaged_file, missing_requirement, model_file

if TYPE_CHECKING:
    from pathlib import Path

    from chatapp.domain.conversation import GenerationParameters
    from chatapp.models import ModelStatus, TimeLimits

DEMO_ID: Final = "demo"

SYSTEM_PROMPT: Final = "You are a helpful assistant. Answer in one to three short sentences."
"""Longer instructions make it talk about them."""

TEMPERATURE: Final = 0.2
"""At 0.7 and above it writes about something else than the question."""

MAX_TOKENS: Final = 160
"""The longest answer: 3 s on one core. A model of this size does not get better with length."""

CONTEXT_TOKENS: Final = 4096
"""Per answer. The model was trained with 8192 (``llama.context_length`` in the file), which would double the memory of
the cache (23 KiB a token) and let a prompt take a minute on a small processor."""

PARALLEL_ANSWERS: Final = 2
"""One for a person, and one for a second tab, a comparison or a probe."""

MOST_THREADS: Final = 4
"""With a model this small, more threads mostly wait for one another."""


class DemoModel(LlamaCppModel):
    """SmolLM2 as a `ChatModel`: short answers at a fixed temperature, which end when they repeat themselves."""

    max_answer_tokens = MAX_TOKENS
    context_tokens: int | None = CONTEXT_TOKENS
    writes_titles = False  # it continues the conversation instead
    is_small = True

    def __init__(self, label: str, *, limits: TimeLimits = DEFAULT_TIME_LIMITS) -> None:
        super().__init__(DEMO_ID, label, limits=limits)
        fixed = Sentence("{model} uses a fixed value.", model=label)
        self.unsupported = {"temperature": fixed, "top_p": fixed}
        self._file_is_checked = False

    def file(self) -> Path | None:
        """Return the model's file, None if its package is not installed."""
        return model_file()

    async def find_problem(self) -> ModelStatus | None:
        """Check packages, processor and file; the file only once, since that takes a moment."""
        problem = await asyncio.to_thread(missing_requirement)
        file = self.file()
        if problem is None and file is not None and not self._file_is_checked:
            problem = await asyncio.to_thread(damaged_file, file)
            self._file_is_checked = problem is None
        return problem

    def server_settings(self) -> dict[str, Any]:
        """Return the settings of its server."""
        return {
            "context_tokens": CONTEXT_TOKENS,
            "parallel": PARALLEL_ANSWERS,
            "threads": min(MOST_THREADS, threads()),
            # min_p: tokens far less likely than the likeliest are left out. DRY: a token that would continue a
            # repetition becomes less likely, the more the longer it is.
            "sampling": {"min_p": 0.2, "dry_multiplier": 0.8, "dry_base": 1.75, "dry_allowed_length": 3},
        }

    def adapted(self, parameters: GenerationParameters) -> GenerationParameters:
        """Return parameters that suit the model: short answers, its own temperature, always a system prompt."""
        return dataclasses.replace(
            parameters,
            temperature=TEMPERATURE,
            top_p=1.0,
            max_tokens=min(parameters.max_tokens, MAX_TOKENS),
            system_prompt=parameters.system_prompt if parameters.system_prompt.strip() else SYSTEM_PROMPT,
        )
