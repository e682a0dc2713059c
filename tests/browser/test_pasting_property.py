"""Any clipboard that has text pastes all of its words, whatever else is on it."""

import html
import random

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LETTERS = "abcxyz0189" + "אבגשת" + "ابتثي" + "漢字" + "😀" + "éß" + "&<>\"'`*_#|~$\\{}[]()-.,:;!?/=+%@^"
BLOCKS = ["p", "div", "li", "h1", "pre", "blockquote", "section", "td", "th", "span", "b", "a"]
NOISE = [
    "<meta charset=utf-8>",
    "<style>p { color: red }</style>",
    "<script>alert(1)</script>",
    "<!-- StartFragment -->",
    "<img src=https://example.com/cat.png>",
    "<title>Not shown</title>",
    "<br>",
    "",
]
CLIPBOARDS = 1500
# Returns what `contentOf` takes for each clipboard, as a text.
PASTED = """async (clipboards) => {
  const version = document.documentElement.innerHTML.match(/page\\/([^/"]+)\\/js\\//)[1];
  const module = (name) => import(new URL(`page/${version}/js/${name}.js`, document.baseURI));
  const [{ contentOf }, { textOfRtf }] = await Promise.all([module("pasting"), module("rtf")]);
  return clipboards.map(({ texts, files }) => {
    const clipboard = new DataTransfer();
    for (const [type, text] of Object.entries(texts)) clipboard.setData(type, text);
    for (const name of files) clipboard.items.add(new File(["x"], name, { type: "image/png" }));
    const { plain, text, rtf } = contentOf(clipboard);
    return plain || text || (rtf ? textOfRtf(rtf) : "");
  });
}"""


def _words(chance):
    return ["".join(chance.choices(LETTERS, k=chance.randint(1, 8))) for _ in range(chance.randint(1, 6))]


def _html(chance, words):
    """Return a fragment that shows these words, in any elements, with elements that show none."""
    parts = []
    for word in words:
        element = chance.choice(BLOCKS)
        parts += [chance.choice(NOISE), f"<{element}>{html.escape(word)}</{element}>", chance.choice([" ", "\n", "\t"])]
    return "".join([*parts, chance.choice(NOISE)])


def _rtf(words):
    def escaped(character):
        if character in "\\{}":
            return f"\\{character}"
        units = character.encode("utf-16-le")
        numbers = [int.from_bytes(units[start : start + 2], "little", signed=True) for start in range(0, len(units), 2)]
        return character if character.isascii() else "".join(f"\\u{number}?" for number in numbers)

    text = " ".join("".join(map(escaped, word)) for word in words)
    return "{\\rtf1\\ansi{\\fonttbl{\\f0 Arial;}}\\f0 " + text + "\\par}"


def _clipboard(chance):
    """Return a clipboard with text of at least one type, each of its own words, and the words to be pasted."""
    kinds = chance.sample(["text/plain", "text/html", "text/markdown", "text/rtf"], chance.randint(1, 4))
    words = {kind: _words(chance) for kind in kinds}
    make = {
        "text/plain": lambda one: chance.choice([" ", "\n", "\t", "\r\n"]).join(one),
        "text/html": lambda one: _html(chance, one),
        "text/markdown": " ".join,
        "text/rtf": _rtf,
    }
    texts = {kind: make[kind](one) for kind, one in words.items()}
    if chance.random() < 0.3:
        texts["text/uri-list"] = "https://example.com/\r\n"
    for kind in ("text/plain", "text/html"):
        if kind not in texts and chance.random() < 0.3:
            texts[kind] = " \n" if kind == "text/plain" else chance.choice(["<p> </p>", "<td></td>"])
    files = chance.sample(["image.png", "a cat.png", "חתול.png"], chance.randint(0, 3))
    best = next(kind for kind in ("text/plain", "text/html", "text/markdown", "text/rtf") if kind in words)
    return {"texts": texts, "files": files}, words[best]


async def test_a_clipboard_with_text_pastes_all_words_of_its_best_type(new_chat):
    chance = random.Random(15)
    cases = [_clipboard(chance) for _ in range(CLIPBOARDS)]
    pasted = await new_chat.tab.evaluate(PASTED, [clipboard for clipboard, _ in cases])
    lost = [
        (clipboard, text)
        for (clipboard, words), text in zip(cases, pasted, strict=True)
        if not all(word in text for word in words)
    ]
    assert lost == []
