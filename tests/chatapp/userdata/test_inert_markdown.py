"""Exported Markdown loads nothing and runs nothing in any renderer, keeps every word, and takes linear time."""

import random
import re
import time

import pytest
from markdown_it import MarkdownIt

from chatapp.userdata.inert_markdown import MAX_DEPTH, inert

RENDERERS = {
    "CommonMark": MarkdownIt("commonmark"),
    "tables": MarkdownIt("commonmark").enable(["table", "strikethrough"]),
}
for parser in RENDERERS.values():
    parser.validateLink = lambda _url: True  # other renderers allow every scheme
SAFE = re.compile(r"(https?://|mailto:|[\w./?=#~+,%-]*$)", re.IGNORECASE)


def tokens_of(tokens):
    for token in tokens:
        yield token
        yield from tokens_of(token.children or [])


def alive(tokens):
    """Yield what loads, runs or leads elsewhere than a link may."""
    for token in tokens_of(tokens):
        if token.type in {"html_block", "html_inline", "image"}:
            yield token.type, token.content
        if token.type == "link_open" and not SAFE.match(token.attrGet("href")):
            yield "link", token.attrGet("href")


def words_of(text):
    return text.replace("\\", "").replace("&lt;", "<")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("![a cat](https://x/cat.png)", r"\![a cat](https://x/cat.png)"),
        ("[![a](b.png)](https://x)", r"[\![a](b.png)](https://x)"),
        ("[x](javascript:alert(1))", r"[x]\(javascript:alert(1))"),
        ("[x](java&#115;cript:alert(1))", r"[x]\(java&#115;cript:alert(1))"),
        ("[x](<javascript:a>)", r"[x]\(&lt;javascript:a>)"),
        ("[x](data:text/html,y)", r"[x]\(data:text/html,y)"),
        ("[x][a]\n\n[a]: javascript:y", "[x][a]\n\n[a]\\: javascript:y"),
        ("[a\nb]: javascript:y", "[a\nb]\\: javascript:y"),
        ("[^1]: javascript:y", r"[^1]\: javascript:y"),
        ("<!-- comment -->", "&lt;!-- comment -->"),
        ("<?php", "&lt;?php"),
        ("`a\n<b>`", "`a\n&lt;b>`"),
        ("| `a | <b>` |", "| `a | &lt;b>` |"),
        ("$`$ <b> $`$", "$`$ &lt;b> $`$"),
        (r"`\`<b>`", r"`\`&lt;b>`"),
        (r"\`<b>`", r"\`&lt;b>`"),
        ("> ```\n<b>", "> ```\n&lt;b>"),
        ("[^1]: x\n\n    <b>", "[^1]\\: x\n\n    &lt;b>"),
        ("- x\n\n      <b>", "- x\n\n      &lt;b>"),
        ("a\n    <b>", "a\n    &lt;b>"),
    ],
)
def test_what_is_alive_becomes_text_or_a_link(text, expected):
    assert inert(text) == expected
    assert list(alive(RENDERERS["CommonMark"].parse(inert(text)))) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a < b and c > d, 1<2",
        "```html\n<script>\n```",
        "- a list\n  ```html\n  <b>\n  ```\n- end",
        "> quoted\n> ```\n> <b> ![x](y)\n> ```",
        "1. a\n\n   ~~~\n   <b>\n   ~~~",
        "    <b> in an indented block",
        "use `<b>` and `` a ` <i> ``, then `![x](y)`",
        "| `List<String>` | x |\n| --- | --- |\n| `<b>` | `a` |",
        "[a link](https://example.org/x?y=1#z) and [another](<https://example.org/a b>) and [mail](mailto:a@b.c)",
        "[relative](notes/more.md#part) and <https://example.org>",
        "a word [^1]\n\n[^1]: A note with several words.",
        "dict[str]: int, see [1]: there",
        r"\<b> and \![x](y)",
    ],
)
def test_code_and_links_stay_as_they_are(text):
    assert inert(text).replace("(&lt;https", "(<https") == text


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ("```", "\n```"),
        ("~~~~ md\n```\ncode", "\n~~~~"),
        ("a\n   ```sh\ncode", "\n```"),
        ("- a\n  ```\n  b", ""),
        ("> ```", ""),
        ("- a\n\nb\n```", "\n```"),
        ("```\ncode\n```", ""),
        ("``` not a fence ```", ""),
    ],
)
def test_an_open_fence_is_closed(text, closing):
    assert inert(text) == text + closing


def test_deeply_nested_text_becomes_code():
    text = "> " * (MAX_DEPTH + 1) + "<b>"
    assert inert(text) == f"```\n{text}\n```"
    assert inert("- " * (MAX_DEPTH + 1) + "```` <b>").startswith("`````\n")


# Lines that open, close or hold blocks and code, at the margin, further in, and within lists, quotes and tables.
PIECES = [
    *("```", "```python", "~~~", "````", "```a`b", "text", "", "# head", "***", "---", "===", "``` ```", "```  "),
    *("  ```", "   ```sh", "    ```", "\t```", "> ```", "- ```", "+ ~~~", "* ```js", "10) ```", "1. do", "   more"),
    *("- a", "  b", "~~~ ~~~", "    code", "-", "*", ">", ">>", "> > -", "1)", "2. x", "  - n", "     z", "- - -"),
    *("<!-- x", "-->", "<div>", "</div>", "<pre>", "<?php", "<![CDATA[", "<script>", " <style>", "  > <i>", "<b>c</b>"),
    *("`<b>`", "a ` <b>", "`` a ` <b> ``", r"\`<b>`", r"`\`<b>`", r"\<b>", r"\\<b>", "$`$ <b> $`$", "<https://x>"),
    *("| a | `b | <b>` |", "| --- | --- |", "|a|b|", "|---|---|", "`a|b` <b>", "|`<b>`|", "x | y", "-|-"),
    *("![p](http://x)", "![p][a]", "`![p](q)`", "[![p](q)](r)", "[x](javascript:y)", "[x](http://y)", "[x][a]"),
    *('[a]: /u "t', "[a]: javascript:x", "[a]:", "[b", "c]: javascript:x", "[^1]: foo <b>", "[^1]: javascript:x"),
]


def random_texts(count, seed):
    chosen = random.Random(seed)
    for _ in range(count):
        yield "\n".join(chosen.choice(PIECES) for _ in range(chosen.randint(1, 9)))


def check(text):
    ended = inert(text)
    assert words_of(text.rstrip()) in words_of(ended), text
    for renderer, parser in RENDERERS.items():
        whole = f"{ended}\n\n---\n\n**You**\n"
        tokens = parser.parse(whole)
        assert list(alive(tokens)) == [], (renderer, text)
        blocks = [token.type for token in tokens if token.level == 0 and not token.type.endswith("_close")]
        # The inline token between the paragraph's two has a level of its own.
        assert blocks[-2:] == ["hr", "paragraph_open"], (renderer, text)


@pytest.mark.slow
def test_any_text_is_inert_and_leaves_nothing_open():
    for text in random_texts(1_500, 1):
        check(text)


@pytest.mark.long
def test_very_many_texts_are_inert():
    for text in random_texts(40_000, 2):
        check(text)


HOSTILE = {
    "titles that never end": '[a]: /u "',
    "links": "[a](b",
    "tags": "<textarea>",
    "brackets": "[",
    "labels": "]:",
    "targets": "](",
    "images": "![",
    "backticks": "`a",
    "runs": "` `` ``` ",
    "quotes": "> ",
    "lists": "- a\n",
    "nested lists": "- ",
    "blank items": "-\n",
    "blank lines": "\n",
    "fences": "```\n~~~\n",
    "escapes": "\\<",
    "tabs": "\t>\t-",
    "pipes": "|`<b>`|",
    "formulas": "$`<b>`",
    "addresses": "<https://x",
    "footnotes": "[^a]: <b>\n",
    "rules": "* * *x",
    "spaces": "<b>" + " " * 30,
}


@pytest.mark.slow
@pytest.mark.parametrize("part", HOSTILE.values(), ids=HOSTILE)
def test_time_grows_with_the_length_alone(part):
    def seconds(size):
        text = "<b>\n```\n```\n" + part * (size // len(part)) + "x"
        begun = time.process_time()
        inert(text)
        return time.process_time() - begun

    seconds(1_000)
    # A quadratic input of 40,000 characters took 2 s and more with a parser; linear ones take 10 to 90 ms.
    assert min(seconds(80_000) for _ in range(2)) < 8 * max(min(seconds(20_000) for _ in range(3)), 0.02)
