"""A grammar of hostile Markdown: nested quotes, lists, tables, fences, spans, HTML, mathematics and diagrams.

`document(seed)` returns one text; the same seed returns the same text.
"""

import random

HTML = (
    '<div style="position:fixed;inset:0;z-index:99999;background:red">Your session is over</div>',
    '<a href="https://evil.example/" style="position:fixed;inset:0">x</a>',
    '<form action="/sign-out"><input name=q><button class="primary">Sign in</button></form>',
    '<dialog open id="personas" class="ask">Sign in with Google</dialog>',
    "<style>body{display:none}</style>",
    "<img src=/export/everything.json onerror=window.hacked=1>",
    '<svg onload=window.hacked=1 style="position:fixed"><a href="//evil.example"><rect width=9999 /></a></svg>',
    "<math><mtext><table><mglyph><style><img src=x onerror=window.hacked=1>",
    "<iframe src=/sign-in/start></iframe>",
    "<textarea>",
    "<!--",
    "<script>window.hacked=1</script>",
    "<details open ontoggle=window.hacked=1>",
    "<base href=https://evil.example/>",
    "<br>",
    "</div></div></section>",
    "&lt;b style=color:red&gt;",
    "<span id=message class=message-text>",
    "<label for=message>x</label>",
    "<video src=/export/everything.json autoplay>",
)
FORMULAS = (
    r"\href{javascript:window.hacked=1}{x}",
    r"\includegraphics{/export/everything.json}",
    r"\htmlStyle{position:fixed;inset:0}{x}",
    r"\htmlId{message}{x}",
    r"\htmlClass{primary}{x}",
    r"\hspace{-99em}\rule{999em}{999em}",
    r"\raisebox{99em}{\colorbox{red}{Sign in}}",
    r"\kern-99em\text{Your session is over}",
    r"\def\a{\a\a}\a",
    r"\sqrt{\frac{\sqrt{x}}{\overbrace{y}}}",
    r"\begin{matrix}a&b\\c&d\end{matrix}",
    r"A=\{1,2,3\}",
    r"\color{red;position:fixed}x",
    r"\textcolor{url(/export)}{x}",
    r"\unicode{",
    r"\tag*{\smash{x}}",
    "<img src=x onerror=window.hacked=1>",
    "x^2",
)
DIAGRAMS = (
    "graph TD\n A[<img src=/export/everything.json onerror=window.hacked=1>] --> B",
    'graph TD\n A --> B\n click A "https://evil.example" _blank',
    "%%{init: {'themeCSS': '} body{display:none} *{background:url(/export/everything.json)}'}}%%\ngraph TD\n A-->B",
    "%%{init: {'securityLevel': 'loose', 'htmlLabels': true}}%%\ngraph TD\n A[<b style='position:fixed'>x</b>]-->B",
    "sequenceDiagram\n A->>B: <script>window.hacked=1</script>",
    "</div><style>body{display:none}</style>",
    "gantt\n dateFormat YYYY-MM-DD\n section a\n b: 2020-01-01, 9999d",
)
LINKS = (
    "[x](https://evil.example/)",
    "[x](javascript:window.hacked=1)",
    "[x](/sign-out)",
    "[x](#message)",
    "![x](/export/everything.json)",
    "![x](https://evil.example/x.png)",
    "![x](conversations/other/images/one)",
    '![x](x" onerror="window.hacked=1)',
    "<https://evil.example/>",
    "https://evil.example/a،b",
    "[x]: /sign-in/start",
    "[x][x]",
    "![x](data:image/svg+xml,<svg onload=window.hacked=1>)",
    "![x](data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=)",
    "[![x](https://evil.example/x)](https://evil.example/)",
)
WORDS = (
    "word",
    "שלום",
    "مرحبا،",
    "你好：",
    "a_b_c",
    "1~3",
    "$5",
    "\\`",
    "\\<",
    "`",
    "**",
    "***",
    "__",
    "~~",
    "|",
    "\\",
    "\r",
)
MARKS = ("**", "*", "__", "_", "~~", "`", "``", "***", "\\`", "$", "$$")
FENCES = ("```", "~~~", "````", "   ```", "\t```", "\\```")
ENDS = ("\n", "\n", "\n\n", "\r\n", "\r", "\n   \n")


class _Writer:
    def __init__(self, seed):
        self._random = random.Random(seed)
        self._one_of = self._random.choice

    def inline(self, depth):
        leaves = (self._word, self._word, self._html, self._formula, self._link)
        nested = (self._marked, self._labelled, self._two)
        return self._one_of((*leaves, *nested) if depth else leaves)(depth)

    def _word(self, _depth):
        return self._one_of(WORDS)

    def _html(self, _depth):
        return self._one_of(HTML)

    def _link(self, _depth):
        return self._one_of(LINKS)

    def _formula(self, _depth):
        left, right = self._one_of((("$", "$"), ("$$", "$$"), ("\\(", "\\)"), ("\\[", "\\]"), ("$", "")))
        return left + self._one_of(FORMULAS) + right

    def _marked(self, depth):
        mark = self._one_of(MARKS)
        return mark + self.inline(depth - 1) + self._one_of((mark, mark, "", self._one_of(MARKS)))

    def _labelled(self, depth):
        return f"[{self.inline(depth - 1)}]({self._one_of(('https://evil.example', '/x', '<', 'a b', ''))})"

    def _two(self, depth):
        return self.inline(depth - 1) + " " + self.inline(depth - 1)

    def line(self, depth):
        return "".join(
            self.inline(depth) + self._one_of(("", " ", "\n", "\r")) for _ in range(self._random.randint(1, 3))
        )

    def block(self, depth):
        leaves = (
            self.line,
            self.line,
            self._fence,
            self._diagram,
            self._table,
            self._heading,
            self._display,
            self._tag,
        )
        nested = (self._quote, self._item)
        return self._one_of((*leaves, *nested) if depth else leaves)(depth)

    def _quote(self, depth):
        return self._prefixed("> ", "> ", depth)

    def _item(self, depth):
        mark = self._one_of(("- ", "* ", "1. ", "- [x] ", "- [ ] ", "9) "))
        return self._prefixed(mark, " " * len(mark), depth)

    def _prefixed(self, first, rest, depth):
        lines = self.block(depth - 1).split("\n")
        if self._random.random() < 0.3:  # the container ends before its content does
            return first + "\n".join(lines)
        return "\n".join((rest if i else first) + line for i, line in enumerate(lines))

    def _fence(self, depth):
        fence = self._one_of(FENCES)
        info = self._one_of(("", "python", "html", 'x" onload="1', "<b>", "mermaid", "`"))
        body = self._one_of((*HTML, self.line(depth)))
        return f"{fence}{info}\n{body}\n" + self._one_of((fence, "", "> " + fence, fence + "x"))

    def _diagram(self, _depth):
        return f"```mermaid\n{self._one_of(DIAGRAMS)}\n```"

    def _table(self, _depth):
        cells = [self.line(1).replace("\n", " ") for _ in range(4)]
        return f"| {cells[0]} | {cells[1]} |\n|:--|{self._one_of(('--:', '---'))}|\n| {cells[2]} | {cells[3]} |"

    def _heading(self, depth):
        return "#" * self._random.randint(1, 7) + " " + self.line(depth)

    def _display(self, _depth):
        return "\n".join((self._one_of(("$$", "\\[")), self._one_of(FORMULAS), self._one_of(("$$", "\\]", ""))))

    def _tag(self, depth):
        return self._one_of(HTML) + self._one_of(("", "\n")) + self.line(depth)

    def document(self):
        kind = self._random.randrange(30)
        if kind == 0:  # one thing many times
            return self.inline(1) * self._random.randint(50, 400)
        if kind == 1:  # one thing deep inside itself
            return self._one_of(("> ", "- ", "[", "**", "\\[", "1. ", "$")) * self._random.randint(50, 4000)
        return "".join(self.block(3) + self._one_of(ENDS) for _ in range(self._random.randint(1, 5)))


def document(seed):
    return _Writer(seed).document()
