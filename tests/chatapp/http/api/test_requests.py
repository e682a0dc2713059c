"""Bodies of requests: what they may hold, and what the routes make of them."""

import pytest
from pydantic import ValidationError

from chatapp.domain.errors import InvalidParameters
from chatapp.http.api.schemas.account import Confirmation
from chatapp.http.api.schemas.conversations import ConversationChange
from chatapp.http.api.schemas.profile import ProfileChange
from chatapp.http.api.schemas.turns import AnswerOptions, NewQuestion

PERSONA = {"id": "p", "name": " A  pirate\n", "instructions": "Arr\0."}
PROFILE = {"personas": [PERSONA], "parameters": None, "allowFallback": True, "revision": 1}


@pytest.mark.parametrize(
    "body", [{}, {"title": None}, {"title": 7}, {"pinned": "yes"}, {"pinned": 1}, {"title": "x", "colour": "red"}]
)
def test_a_change_of_a_conversation_is_one_of_its_fields_and_of_their_types(body):
    with pytest.raises(ValidationError):
        ConversationChange.model_validate(body)


@pytest.mark.parametrize("body", [{}, {"confirm": 1}, {"confirm": "true"}, [True], None])
def test_a_confirmation_is_nothing_but_true(body):
    with pytest.raises(ValidationError):
        Confirmation.model_validate(body)


@pytest.mark.parametrize("name", ["", "x", "A" * 32, "0" * 31, "0" * 33, "0" * 32 + "\n", 7])
def test_an_id_that_a_page_makes_is_32_hex_digits(name):
    with pytest.raises(ValidationError):
        NewQuestion.model_validate({"question": name})


@pytest.mark.parametrize(
    "body",
    [{"follows": "x" * 1001}, {"persona": "x" * 201}, {"images": [{}]}, {"compareWith": 7}, {"allowFallback": "yes"}],
)
def test_a_question_that_no_page_sends_is_not_valid(body):
    with pytest.raises(ValidationError):
        NewQuestion.model_validate(body)


def test_parameters_are_checked_by_the_domain_and_default_to_its_values():
    assert AnswerOptions.model_validate({"model": "gemma"}).answer().parameters.temperature == 0.9
    with pytest.raises(InvalidParameters, match="Temperature"):
        AnswerOptions.model_validate({"temperature": "hot"}).answer()


def test_a_comparison_changes_what_it_names_and_nothing_else():
    body = {"model": "a", "top_p": 0.5, "max_tokens": 7, "compareWith": {"model": "b", "temperature": 0.2}}
    first, second = NewQuestion.model_validate(body).answers()
    assert (first.model, first.parameters.temperature) == ("a", 0.9)
    assert (second.model, second.parameters.temperature) == ("b", 0.2)
    assert (second.parameters.top_p, second.parameters.max_tokens) == (0.5, 7)


def test_pages_that_were_loaded_before_an_upgrade_are_understood():
    other = {"model": "b", "temperature": 0.2}
    question = NewQuestion.model_validate({"again": True, "orOther": True, "beside": other})
    assert (question.retry, question.allow_fallback, len(question.answers())) == (True, True, 2)
    change = {name: value for name, value in PROFILE.items() if name != "allowFallback"}
    assert ProfileChange.model_validate({**change, "answerWithOther": True}).allow_fallback


def test_a_profile_is_cleaned():
    profile = ProfileChange.model_validate(PROFILE).profile()
    (persona,) = profile.personas
    assert (persona.name, persona.instructions) == ("A pirate", "Arr\ufffd.")
    assert (profile.answer_with_other, profile.parameters, profile.revision) == (True, None, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"personas": [{**PERSONA, "id": str(number)} for number in range(41)]}, "40 personas at most"),
        ({"personas": [{**PERSONA, "name": " \n"}]}, "needs a name"),
        ({"personas": [{**PERSONA, "name": "x" * 81}]}, "80 characters at most"),
        ({"personas": [{**PERSONA, "instructions": "x" * 20_001}]}, "20,000 characters at most"),
        ({"parameters": {"temperature": 9, "top_p": 0.5, "max_tokens": 1}}, "Temperature"),
    ],
)
def test_a_profile_beyond_its_bounds_is_refused_with_a_sentence(changes, words):
    with pytest.raises(InvalidParameters, match=words):
        ProfileChange.model_validate({**PROFILE, **changes}).profile()


@pytest.mark.parametrize(
    "changes",
    [
        {"personas": [PERSONA, PERSONA]},
        {"personas": [{**PERSONA, "id": "../x"}]},
        {"personas": [{"id": "p"}]},
        {"personas": {}},
        {"parameters": {"temperature": 0.5}},
        {"revision": 0},
        {"revision": 2**53},
        {"revision": True},
        {"revision": "1"},
        {"allowFallback": 1},
    ],
)
def test_a_profile_that_no_page_sends_is_not_valid(changes):
    with pytest.raises(ValidationError):
        ProfileChange.model_validate({**PROFILE, **changes}).profile()
