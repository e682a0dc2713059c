"""Answers from documents by a real model, through the whole chat: what it quotes, and what of that is shown and true.

Run: ``python -m benchmarks.document_answers [--url URL | --gguf FILE] [--languages en,he,ar] [--each 8] [--print]``.

The demo model answers, or the first model of an OpenAI-compatible server, or a GGUF file in llama.cpp. 12 questions of
each language are asked twice: with the one document that they are about, and with all documents of the language. The
documents do not answer four of the twelve. ``--print`` prints each answer. Times are of this machine, with its other
load.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.document_parts.asking import ANSWERED, Answered, answered, questions
from benchmarks.document_parts.questions import LANGUAGES
from benchmarks.load_parts.processes import chat_process
from tests.page_client import open_page
from tests.serving import NO_LIMITS_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADINGS = (
    "questions",
    "asked, arrived",
    "quotes offered",
    "citations shown",
    "of these true",
    "answered questions with one",
    "that leads to the answering section",
    '"not in your documents": rightly, wrongly',
    "with a page after a quote",
    "in the language",
    "in a loop",
    "got passages",
    "tokens of the prompt: median, most",
    "s to the first token: median, most",
)


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # The load of the machine must not decide which answers arrive.
        settings = {"CHAT_DATA_DIR": folder, "CHAT_FIRST_TOKEN_SECONDS": "1800", **NO_LIMITS_ENVIRONMENT}
        if options.url:
            settings |= {"CHAT_GEMMA_URL": options.url, "CHAT_EMBEDDED_MODEL": "false"}
        elif options.gguf:
            settings |= {"CHAT_LOCAL_MODEL": str(options.gguf)}
        with chat_process(Path(folder), settings) as (process, url):
            async with open_page(url) as page:
                model = "gemma" if options.url else "local-file" if options.gguf else "demo"
                for title, all_documents in (("one document", False), ("all documents", True)):
                    print(f"\n| {' | '.join((title, *HEADINGS[1:]))} |\n|{'---|' * len(HEADINGS)}")
                    every: list[Answered] = []
                    for language in options.languages.split(","):
                        before = _cpu(process.pid)
                        of_language = []
                        for asked in questions(all_documents=all_documents, languages=[language], each=options.each):
                            of_language.append(await answered(page, asked, model))
                            if options.print:
                                print_answer(of_language[-1])
                        print(row(language, of_language), flush=True)
                        seconds = (_cpu(process.pid) - before) / len(of_language)
                        print(f"{seconds:.1f} s of CPU an answer, of the chat and its children")
                        every += of_language
                    print(row("all", every), flush=True)


def absolute(name: str) -> Path:
    """Return the path of a file, which the chat looks for from another folder."""
    return Path(name).resolve()


def row(name: str, answers: Sequence[Answered]) -> str:
    """Return a row of the table."""
    arrived = [one for one in answers if one.has_arrived]
    answerable = [one for one in arrived if one.asked.section]
    shown = sum(len(one.shown) for one in arrived)
    false = sum(len(one.false) for one in arrived)
    tokens = [one.prompt_tokens for one in arrived] or [0]
    seconds = [one.seconds for one in arrived] or [0.0]
    cells = (
        f"{len(answers)}, {len(arrived)}",
        sum(one.offered for one in arrived),
        shown + false,
        f"{100 * shown / (shown + false):.0f} %" if shown + false else "-",
        sum(bool(one.shown) for one in answerable),
        sum(bool(one.in_section) for one in answerable),
        f"{sum(one.says_outside for one in arrived if not one.asked.section)}, "
        f"{sum(one.says_outside for one in answerable)}",
        sum(one.names_page for one in arrived),
        sum(one.in_language for one in arrived),
        sum(one.has_loop for one in arrived),
        sum(one.has_passages for one in arrived),
        f"{statistics.median(tokens):.0f}, {max(tokens)}",
        f"{statistics.median(seconds):.1f}, {max(seconds):.1f}",
    )
    return f"| {' | '.join(map(str, (name, *cells)))} |"


def print_answer(one: Answered) -> None:
    """Print a question and its answer, with what is cited in it."""
    kind = "answered" if one.asked.section else "not answered"
    print(f"\n? {one.asked.text} ({kind} by {', '.join(one.asked.documents)}; {one.prompt_tokens} tokens)")
    print(f"  {'' if one.has_arrived else 'NO ANSWER: '}{one.text}")
    for words in one.shown:
        print(f"  cited: {words}")
    for words in one.false:
        print(f"  FALSE: {words}")


def _cpu(process: int) -> float:
    """Return the seconds of CPU of a process and of all that it has started."""
    root = psutil.Process(process)
    times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
    return sum(one.user + one.system for one in times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.document_answers", description=__doc__.partition("\n")[0]
    )
    server = parser.add_mutually_exclusive_group()
    server.add_argument("--url", help="of an OpenAI-compatible server; if not set: the demo model")
    server.add_argument("--gguf", type=absolute, help="a file that llama.cpp runs inside the chat")
    parser.add_argument("--languages", default=",".join(LANGUAGES), help="of the questions, separated by commas")
    parser.add_argument("--each", type=int, default=ANSWERED, help="how many of a language have an answer, at most 8")
    parser.add_argument("--print", action="store_true", help="print the answers")
    asyncio.run(main(parser.parse_args()))
