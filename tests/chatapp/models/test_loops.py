"""An answer that repeats itself is found, and one that does not is left alone."""

import pytest

from chatapp.models.llamacpp.loops import LoopDetector

# Of SmolLM2, in the evaluation that docs/demo-model.md describes.
LOOPS = {
    "words": "Le Grand Paris, " + "le Grand-Bien-Souffrac, " * 8,
    "lines": "Chat Reminder:\n\n" * 8,
    "short words": 'A: "A: "\n\n' * 12,
    "verse": "A place of endless love,\nA place where the stars shine bright,\n" * 4,
    "numbers": "Here are three:\n" + "".join(f"{n}. Monday: Ashwood, {n} hours away.\n" for n in range(1, 9)),
    "Hebrew": "קול " + "בעברית " * 14,
    "keywords": "Subject: Meeting\n" + "Keywords: meeting, Thursday, 2018-04-23\n" * 4,
}
ANSWERS = {
    "prose": "The sky is blue because of a process called Rayleigh scattering. Sunlight is made of many colors. Blue "
    "light has a short wavelength. It is scattered more than red light. So we see a blue sky.",
    "list": "1. Carrots\n2. Tomatoes\n3. Bell peppers\n4. Cucumbers\n5. Green peppers\n",
    "table": "| Trip | Days | Place |\n|------|------|-------|\n| A | 1 | Park |\n| B | 1 | Park |\n| C | 1 | Lake |\n",
    "rule": "-" * 120 + "\nThe end",
    "code": "".join(f"def {name}(a, b):\n    return a {sign} b\n\n\n" for name, sign in ("a+", "s-", "m*")),
    "verse twice": "Row, row, row your boat,\ngently down the stream.\n" * 2 + "Merrily, merrily, life is but a dream.",
    "counting": " ".join(map(str, range(1, 60))),
    "counting in lines": "".join(f"{n}\n" for n in range(1, 60)),
    "times table": "".join(f"17 times {n} is {17 * n}.\n" for n in range(1, 13)),
    "spaces": " " * 300 + "deeply indented",
}


def at_which(text, size):
    """Return after how many characters the detector finds a loop, None if never."""
    detector = LoopDetector()
    for start in range(0, len(text), size):
        if detector.loops(text[start : start + size]):
            return start + size
    return None


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_found_however_the_text_is_cut(name, size):
    assert at_which(LOOPS[name], size) is not None


def test_a_loop_is_found_before_it_is_long():
    assert at_which(LOOPS["words"], 4) < 110
    assert at_which(LOOPS["lines"], 4) < 64


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_does_not_loop_is_left_alone(name, size):
    assert at_which(ANSWERS[name], size) is None
