"""The texts of the benchmark: long messages and answers in English and Hebrew, with Markdown and code."""

from __future__ import annotations

import re

MESSAGES = 500
CHARACTERS = 2000
LAST_WORDS = "These are the last words."
_CODE = """```python
def lamp(hours, *, oil=3.5):
    # how much oil one winter takes
    return sum(oil * night for night in hours)
```"""
_PARTS = (
    "Reading **number {number}**: a keeper writes down what he sees, and only then what he thinks of it. The rest of "
    "the page is for `notes`, and for the [harbour](https://example.org/harbour).",
    "- the wind from the *north-west*, as `wind(6)`\n- oil for three nights\n- a letter that nobody fetched",
    _CODE,
    "השומר רשם את מזג האוויר של יום {number} ביומן, **שורה אחר שורה**, ואחר כך ניקה את הפנס והדליק אותו מחדש.",
    "| night | oil | `hours` |\n|---|---|---|\n| 1 | 3.5 | 11 |\n| 2 | 3.1 | 12 |",
    "> Nothing was seen before midnight; after it, a light far out, which did not answer.",
    "### What was left\n\n1. the lens, which had to be polished by hand\n2. the log of the year before",
)


def message(number: int) -> str:
    """Return a message of about 2,000 characters, another one for each number."""
    parts: list[str] = []
    while sum(map(len, parts)) < CHARACTERS:
        parts.append(_PARTS[(number + len(parts)) % len(_PARTS)].format(number=number))
    return "\n\n".join(parts)


def messages() -> list[str]:
    """Return a conversation, questions and answers in turn; the last one ends with `LAST_WORDS`."""
    texts = [message(number) for number in range(MESSAGES)]
    return [*texts[:-1], f"{texts[-1]}\n\n{LAST_WORDS}"]


def tokens(count: int) -> list[str]:
    """Return an answer in pieces as long as tokens are."""
    text = "\n\n".join(message(number) for number in range(count * 6 // CHARACTERS + 2))
    return re.findall(r"(?s).{1,5}", text)[:count]
