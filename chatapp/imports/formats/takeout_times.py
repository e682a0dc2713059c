"""Times as Google Takeout writes them in a web page: in the account's language and time zone.

    Apr 12, 2026, 3:34:31 PM EDT        10 de mai. de 2026, 03:46:09 BRT     2024. 10. 19. 오후 9:15:07 KST
    18 Sept 2025, 12:02:52 CET          4 juli 2026 09:15:00 CEST            2026年6月20日 00:28:51 CST
    May 19, 2026, 7:07:02 PM GMT-03:00  01.09.2022, 21:08:12 MESZ            10 באפר׳ 2026, 19:55:59 IDT

Google does not document them. Sources, read in November 2026: purarue/google_takeout_parser (#59, and what it says of
time zones: a time has the offset of the day of the export), karlicoss/HPI#114, polypoly-eu/polyPod#1123, public readers
that were written from real exports, and the medium format of each language in the Unicode CLDR.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

MAX_CHARS, MAX_WORDS_AFTER = 80, 4

_CLOCK = re.compile(r"(?<!\d)(\d{1,2})[:.](\d\d)[:.](\d\d)(?!\d)")
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]+")
_OFFSET = re.compile(r"(?:GMT|UTC)?\s*([+-])(\d{1,2})(?::?(\d\d))?\Z")
_BEFORE_NOON = {"am", "ص", "오전", "上午", "πμ"}
_AFTER_NOON = {"pm", "م", "오후", "下午", "μμ"}

# The beginnings of the months' names, January first, of languages whose medium date names its month.
_MONTHS = (
    "jan feb mar apr may jun jul aug sep oct nov dec",  # English; also most of Dutch, the Nordic languages, Indonesian
    "jän feb mär apr mai jun jul aug sep okt nov dez",  # German
    "janv févr mars avr mai juin juil août sept oct nov déc",
    "ene feb mar abr may jun jul ago sep oct nov dic",  # Spanish
    "jan fev mar abr mai jun jul ago set out nov dez",  # Portuguese
    "gen feb mar apr mag giu lug ago set ott nov dic",  # Italian
    "gen febr març abr maig juny jul ag set oct nov des",  # Catalan
    "jan feb mrt apr mei jun jul aug sep okt nov dec",  # Dutch
    "jan feb mars apr maj jun jul aug sep okt nov des",  # Swedish, Danish, Norwegian
    "sty lut mar kwi maj cze lip sie wrz paź lis gru",  # Polish
    "jan feb márc ápr máj jún júl aug szept okt nov dec",  # Hungarian
    "ian feb mar apr mai iun iul aug sept oct nov dec",  # Romanian
    "oca şub mar nis may haz tem ağu eyl eki kas ara",  # Turkish
    "jan feb mac apr mei jun jul agu sep okt nov dis",  # Indonesian, Malay
    "янв февр мар апр мая июн июл авг сент окт нояб дек",  # Russian
    "січ лют бер квіт трав черв лип серп вер жовт лист груд",  # Ukrainian
    "ιαν φεβ μαρ απρ μαΐ ιουν ιουλ αυγ σεπ οκτ νοε δεκ",  # Greek
    "ינו פבר מרץ אפר מאי יונ יול אוג ספט אוק נוב דצמ",
    "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
    "كانون شباط آذار نيسان أيار حزيران تموز آب أيلول تشرين تشرين كانون",  # in the Levant; the second word follows
)
_SECOND = {("كانون", "الثاني"): 1, ("تشرين", "الأول"): 10, ("تشرين", "الثاني"): 11, ("كانون", "الأول"): 12}

# Offsets from UTC in minutes, of the abbreviations in the time zone database and in the CLDR. One without an entry
# counts as UTC. Some mean several zones; see `_offset`.
_ZONES = {
    name: minutes
    for minutes, names in {
        0: "UTC GMT WET Z",
        60: "BST WEST CET MEZ WAT",
        120: "CEST MESZ EET OEZ CAT SAST",
        180: "EEST OESZ IDT MSK EAT TRT",
        240: "GST",
        300: "PKT",
        330: "IST",
        345: "NPT",
        420: "WIB ICT",
        480: "HKT SGT MYT PHT AWST WITA",
        540: "JST KST WIT",
        570: "ACST",
        600: "AEST",
        630: "ACDT",
        660: "AEDT",
        720: "NZST",
        780: "NZDT",
        -150: "NDT",
        -180: "BRT ART UYT CLST ADT",
        -210: "NST",
        -240: "AST EDT CLT VET BOT",
        -300: "EST CDT COT PET ECT",
        -360: "CST MDT",
        -420: "MST PDT",
        -480: "PST AKDT",
        -540: "AKST",
        -600: "HST",
    }.items()
    for name in names.split()
}


def takeout_time(text: str) -> str | None:
    """Return a time as ISO 8601 in UTC; None if the text is none."""
    if len(text) > MAX_CHARS:
        return None
    if not text.isascii():
        # Narrow and other spaces become spaces, and digits of other scripts the usual ones; marks of direction go.
        text = "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")
    clock = _CLOCK.search(text)
    if clock is None or _CLOCK.search(text, clock.end()):
        return None
    before, after = text[: clock.start()].strip(), text[clock.end() :]
    is_sentence = not (before[:1].isdecimal() or _month(_words(before)[:1])) or len(_words(after)) > MAX_WORDS_AFTER
    if is_sentence or _NUMBER.search(_OFFSET.sub("", after)):
        return None
    day = _date(before)
    words = _words(before)[-1:] + _words(after)[:1]
    hour, minute, second = map(int, clock.groups())
    if any(word in _AFTER_NOON for word in words) and hour < 12:
        hour += 12
    elif any(word in _BEFORE_NOON for word in words) and hour == 12:
        hour = 0
    if day is None:
        return None
    try:
        moment = datetime(*day, hour, minute, second, tzinfo=UTC) - timedelta(minutes=_offset(before, after))
    except (ValueError, OverflowError):
        return None
    return moment.isoformat()


def _date(text: str) -> tuple[int, int, int] | None:
    """Return year, month and day of the text before the clock."""
    numbers = [number for number in _NUMBER.findall(text) if len(number) <= 4]  # digits of a year
    values = [int(number) for number in numbers]
    years = [at for at, number in enumerate(numbers) if len(number) == 4]  # digits of a year
    if len(years) != 1:
        return None
    year = values.pop(years[0])
    match values:
        case [day]:
            month = _month(_words(text))
            return (year, month, day) if month else None
        case [first, second]:
            if years[0] == 0 or second > 12:  # months
                return year, first, second
            return year, second, first
    return None


def _month(words: list[str]) -> int:
    """Return the month that one of these words names; 0 if none does."""
    for word, following in pairwise([*words, ""]):
        if number := _SECOND.get((word, following), 0):
            return number
        if number := _month_of(word):
            return number
    return 0


@lru_cache(maxsize=1_000)  # a page has the names of months thousands of times
def _month_of(word: str) -> int:
    name = word.removeprefix("ב") if len(word) > 3 else word  # "in", in Hebrew
    matching = (
        (len(begin), number)
        for names in _MONTHS
        for number, begin in enumerate(names.split(), 1)
        if name.startswith(begin)
    )
    return max(matching, default=(0, 0))[1]


def _words(text: str) -> list[str]:
    """Return the words in small letters; the points of "p. m." are no ends of words."""
    return [word.casefold() for word in _WORD.findall(re.sub(r"\b(\w)\.\s?(\w)\.", r"\1\2", text))]


def _offset(before: str, after: str) -> int:
    """Return how many minutes a time is ahead of UTC."""
    zone = after.strip(" ,.،")
    words = zone.split()
    name = words[-1] if words else ""
    if offset := _OFFSET.search(zone):
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        return -minutes if offset[1] == "-" else minutes
    if name == "CST" and "年" in before:  # in China, not in America
        return 480
    if name == "IST" and re.search(r"[א-ת]", before):  # in Israel, not in India
        return 120
    return _ZONES.get(name, 0)
