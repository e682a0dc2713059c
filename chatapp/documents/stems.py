"""The stems of words, for finding passages: a word without its affixes and marks.

In Hebrew and Arabic, articles, prepositions, "and" and pronouns are written onto the word. The index finds a stem
anywhere in a word, so only the words of a question lose their affixes. A light stemmer, after Larkey, Ballesteros and
Connell, "Light Stemming for Arabic Information Retrieval" (2007); Hebrew by the same method.
"""

from __future__ import annotations

import re

from chatapp.store.folding import fold

MIN_STEM = 3  # letters: the index finds no fewer
MIN_LONG = 4  # letters that remain when an ending is dropped

_WORD = re.compile(r"[^\W_]+(?:[.,'\"/-][^\W_]+)*")
_HEBREW = re.compile("[\u05d0-\u05ea]")
_ARABIC = re.compile("[\u0621-\u064a]")
# Folded: without points, and with the plain letter for a final one.
_HEBREW_PREFIXES = re.compile("ו?(?:לכש|כש|מש|ש)?(?:[בכלמ]?ה|[הבכלמ])?")
_HEBREW_ENDINGS = re.compile("(?:יהמ|יהנ|ותיו|ותיה|ינו|יכמ|ימ|ות|יה|יו|נו|כמ|המ|הנ|ית|ה|ת|י|ו)$")
_ARABIC_PREFIXES = re.compile("(?:[وف]?(?:[بك]?ال|لل)|[وف][بلك]?|[بلكس])")
_ARABIC_ENDINGS = re.compile("(?:هما|كما|تهم|هم|هن|كم|نا|ها|ات|ان|ون|ين|يه|تي|ه|ي|ا|ت)$")
_ENGLISH_ENDINGS = re.compile("(?:ings?|edly|ed|ies|es|s|ly|'s)$")
# Words that are in every text. Folded.
_COMMON = frozenset(
    (
        *("the", "a", "an", "of", "to", "in", "on", "at", "by", "for", "from", "with", "and", "or", "is", "are", "was"),
        *("were", "be", "been", "do", "does", "did", "has", "have", "had", "can", "may", "must", "will", "would", "it"),
        *(
            "its",
            "this",
            "that",
            "these",
            "those",
            "what",
            "which",
            "who",
            "whom",
            "when",
            "where",
            "why",
            "how",
            "many",
        ),
        *("much", "if", "than", "there", "their", "they", "you", "your", "we", "our", "he", "she", "his", "her", "as"),
        *("את", "של", "על", "עם", "אל", "מה", "מי", "מתי", "איפה", "היכנ", "למה", "מדוע", "איכ", "כיצד", "כמה", "האמ"),
        *("הוא", "היא", "המ", "הנ", "זה", "זו", "זאת", "אלה", "יש", "אינ", "לא", "כל", "גמ", "או", "אמ", "כי", "אשר"),
        *("היה", "היתה", "היו", "איזה", "איזו", "אילו", "ב", "ל", "מ", "ה", "ו", "ש", "עד", "בינ", "לפי", "אחרי"),
        *("في", "من", "الي", "علي", "عن", "مع", "ما", "ماذا", "متي", "اين", "كيف", "كم", "لماذا", "هل", "هو", "هي"),
        *("هذا", "هذه", "ذلك", "التي", "الذي", "الذين", "ان", "او", "و", "لا", "لم", "كان", "كانت", "كل", "اي", "بين"),
    )
)


def words(text: str) -> list[str]:
    """Return the words of a text in their order, folded; numbers keep the points within them."""
    return _WORD.findall(fold(text))


def stems(question: str) -> list[str]:
    """Return the stems of a question's words, each once, without common words, unless there are no others."""
    every = [stem for word in words(question) if len(stem := stem_of(word)) >= MIN_STEM or stem.isdecimal()]
    rare = [stem_of(word) for word in words(question) if word not in _COMMON]
    chosen = [stem for stem in rare if stem in set(every)] or every
    return list(dict.fromkeys(chosen))


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
