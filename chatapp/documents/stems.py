"""The forms of words by which passages are found: without affixes and marks, by root, and by what means the same.

In Hebrew and Arabic, articles, prepositions, "and" and pronouns are written onto the word. A light stemmer, after
Larkey, Ballesteros and Connell, "Light Stemming for Arabic Information Retrieval" (2007); Hebrew by the same method.
Roots are a guess by leaving out weak letters. English is stemmed by the index (Porter).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from chatapp.documents.vocabulary import common_words, concepts
from chatapp.store.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_STEM = 3  # letters: the index finds no fewer
MIN_LONG = 4  # letters that remain when an ending is dropped

_WORD = re.compile(r"[^\W_]+(?:[.,'\"/-][^\W_]+)*")
_HEBREW = re.compile("[\u05d0-\u05ea]")
_ARABIC = re.compile("[\u0621-\u064a]")
# Folded: without points, and with the plain letter for a final one.
_HEBREW_PREFIXES = re.compile("ו?(?:לכש|כש|ש)?(?:[בכלמ]?ה|[הבכלמ])?")
_HEBREW_ENDINGS = re.compile("(?:יהמ|יהנ|ותיו|ותיה|ויות|ינו|יכמ|ימ|ות|יה|יו|נו|כמ|המ|הנ|ית|ה|ת|י|ו)$")
_ARABIC_PREFIXES = re.compile("(?:[وف]?(?:[بك]?ال|لل)|[وف][بلك]?|[بلكس])")
_ARABIC_ENDINGS = re.compile("(?:هما|كما|تهم|هم|هن|كم|نا|ها|ات|ان|ون|ين|يه|تي|ه|ي|ا|ت)$")
_ENGLISH_ENDINGS = re.compile("(?:ings?|edly|ed|ies|es|s|ly|'s)$")
# Of scripts that write no spaces between words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
# Within a word, and within a number; what stands at other marks is several words.
_QUOTES, _POINTS = re.compile("['\"]"), re.compile("(?<=[0-9])[.,](?=[0-9])")
_PARTS = re.compile("[^\\W_]+(?:\ue000[^\\W_]+)*")
# Letters that come and go between the forms of a root, but for the first one.
_HEBREW_WEAK, _ARABIC_WEAK = re.compile("(?<!^)[וי]"), re.compile("(?<!^)[اويءئؤ]")
_HEBREW_PATTERNS = re.compile("^(?:[הנמ]ת|[תינאהו])(?=...)")
_ARABIC_PATTERNS = re.compile("^(?:[اميت]ست|[متيناا])(?=...)")
# Private letters, which no text has: they begin the forms of a word, and join the parts of a number.
_JOINT, _STEM, _ROOT, _CONCEPT = "\ue000\ue001\ue002\ue003"


def words(text: str) -> list[str]:
    """Return the words of a text in their order, folded; numbers keep the points within them."""
    return _WORD.findall(fold(text))


def query_words(question: str) -> list[str]:
    """Return the words of a question, each once, without common ones, unless there are no others."""
    every = words(question)
    return list(dict.fromkeys([word for word in every if word not in _common()] or every))


def indexed(text: str) -> str:
    """Return what an index keeps of a text: the forms of its words, separated by spaces."""
    return " ".join(form for word in words(text) for form in forms(word))


@lru_cache(20_000)  # a text repeats its words; with a document of 800,000 characters, half the time
def forms(word: str) -> tuple[str, ...]:
    """Return by what a folded word is found: itself, its parts, its stem, its root, and what means the same.

    None of them has a space.
    """
    if _UNSPACED.search(word):
        return tuple(form for part in _PARTS.findall(word) for form in _of_unspaced(part))
    parts = _PARTS.findall(_POINTS.sub(_JOINT, _QUOTES.sub("", word)))
    made = [_JOINT.join(parts)]
    for part in parts:
        made += (part, *_of_meaning(part))
    return tuple(dict.fromkeys(made))


def _of_meaning(word: str) -> Iterator[str]:
    stem = stem_of(word)
    root = _root_of(word, stem)
    if root:
        yield _STEM + stem
        yield _ROOT + root
    for concept in sorted(frozenset().union(*(_concepts().get(key, frozenset()) for key in _keys(word, stem, root)))):
        yield f"{_CONCEPT}{concept}"


def _keys(word: str, stem: str, root: str) -> tuple[str, ...]:
    """Return by what the concepts of a word are known."""
    return (word, stem, _ROOT + root) if len(root) >= MIN_STEM else (word, stem)


def _root_of(word: str, stem: str) -> str:
    """Return about the root of a Hebrew or Arabic word; "" for others."""
    if _HEBREW.search(word):
        return _root(stem, _HEBREW_WEAK, _HEBREW_PATTERNS)
    if _ARABIC.search(word):
        return _root(stem, _ARABIC_WEAK, _ARABIC_PATTERNS)
    return ""


def _root(stem: str, weak: re.Pattern[str], patterns: re.Pattern[str]) -> str:
    """Return about the root of a stem, its consonants: that of a plural or a verb is often that of its noun."""
    root = weak.sub("", stem) if len(stem) > MIN_STEM else stem
    shorter = patterns.sub("", root)
    return shorter if len(shorter) > 1 else stem


def _of_unspaced(part: str) -> Iterator[str]:
    """Yield each two letters of the parts of a text in a script without spaces, and its other words."""
    at = 0
    for run in _UNSPACED.finditer(part):
        if run.start() > at:
            yield part[at : run.start()]
        letters = run.group()
        yield from (letters[place : place + 2] for place in range(max(len(letters) - 1, 1)))
        at = run.end()
    if at < len(part):
        yield part[at:]


@cache
def _common() -> frozenset[str]:
    return frozenset(map(fold, common_words()))


@cache
def _concepts() -> dict[str, frozenset[int]]:
    by_word: dict[str, set[int]] = {}
    for number, concept in enumerate(concepts()):
        for word in map(fold, concept):
            stem = stem_of(word)
            for key in _keys(word, stem, _root_of(word, stem)):
                by_word.setdefault(key, set()).add(number)
    return {word: frozenset(numbers) for word, numbers in by_word.items()}


def stem_of(word: str) -> str:
    """Return a folded word without its affixes. What remains has at least `MIN_STEM` letters, if the word had them."""
    if _HEBREW.search(word):
        return _without(word, _HEBREW_PREFIXES, _HEBREW_ENDINGS)
    if _ARABIC.search(word):
        return _without(word, _ARABIC_PREFIXES, _ARABIC_ENDINGS)
    shorter = _ENGLISH_ENDINGS.sub("", word)
    return shorter if len(shorter) >= MIN_LONG else word


def _without(word: str, prefixes: re.Pattern[str], endings: re.Pattern[str]) -> str:
    if (prefix := prefixes.match(word)) and len(word) - prefix.end() >= MIN_STEM:
        word = word[prefix.end() :]
    shorter = endings.sub("", word)
    return shorter if len(shorter) >= MIN_STEM and len(word) >= MIN_LONG else word
