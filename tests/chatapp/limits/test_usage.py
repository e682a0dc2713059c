"""Quotas per user and shared: what counts, and what a refusal says."""

import dataclasses

import pytest

from chatapp.domain.conversation import Usage
from chatapp.domain.errors import LimitReached
from chatapp.limits import LIMIT_NAMES, SHARED_QUOTA, USER_QUOTA, NoLimits, Quota
from chatapp.limits.lanes import LaneName
from chatapp.models import Price

PRICE = Price(input=1.0, output=10.0)


def usage(prompt, completion=0):
    return Usage(prompt_tokens=prompt, completion_tokens=completion)


def refusal(limits, user="ann", answers=1):
    with pytest.raises(LimitReached) as refused:
        limits.admit(user, answers)
    return refused.value


def test_messages_per_minute_are_limited(limited, clock):
    limits = limited(messages_per_minute=3)
    for _ in range(3):
        limits.admit("ann")
        clock.now += 5
    refused = refusal(limits)
    assert str(refused) == (
        "Your limit of 3 messages per minute is reached. Nothing was sent; your text is still in the box. "
        "Try again in 45 seconds."
    )
    assert (refused.retry_after, limits.refused) == (45, ["messages"])
    limits.admit("bob")
    clock.now += 45
    limits.admit("ann")
    refusal(limits)


def test_two_parallel_answers_count_as_two_messages(limited):
    limits = limited(messages_per_minute=3)
    limits.admit("ann", 2)
    refusal(limits, answers=2)
    limits.admit("ann", 1)
    limited(messages_per_minute=1).admit("ann", 2)  # there would never be room for both


def test_tokens_and_cost_are_limited_per_day_and_a_remainder_admits_a_message(limited, clock):
    limits = limited(tokens_per_day=1000, cost_per_day=0.01)
    limits.count(usage(900, 99), None, "ann")
    limits.admit("ann")
    limits.count(usage(900, 1), None, "ann")
    refused = refusal(limits)
    assert "daily limit of 1,000 tokens" in str(refused)
    assert str(refused).endswith("Try again in 12 hours.")
    assert refused.retry_after == 12 * 3600
    limits.count(usage(0, 999), Price(1, 11), "bob")
    assert "0.01 US dollars" in str(refusal(limits, "bob"))
    clock.now += refused.retry_after
    limits.admit("ann")
    limits.admit("bob")


def test_model_without_a_price_costs_nothing(limited):
    limits = limited(cost_per_day=0.01)
    limits.count(usage(10**9, 10**9), None, "ann")
    limits.admit("ann")


def test_fractions_of_a_cent_add_up(limited):
    limits = limited(cost_per_day=0.01)
    for _ in range(9_999):
        limits.count(usage(1), PRICE, "ann")
    limits.admit("ann")
    limits.count(usage(1), PRICE, "ann")
    refusal(limits)


@pytest.mark.parametrize(
    ("name", "most", "words"),
    [
        ("all_messages", Quota(messages_per_minute=2), "This chat's shared limit on messages per minute is reached"),
        ("all_tokens", Quota(tokens_per_day=10), "This chat's shared daily token limit is reached"),
        ("all_cost", Quota(cost_per_day=0.0001), "This chat's shared daily cost limit is reached"),
    ],
)
def test_shared_quota_is_enforced(limited, name, most, words):
    limits = limited(most)
    for user in ("ann", "bob"):
        limits.admit(user)
        limits.count(usage(0, 5), PRICE, user)
    assert words in str(refusal(limits, "carol"))
    assert limits.refused == [name]


def test_message_refused_by_the_shared_quota_does_not_count_for_the_user(limited, clock):
    limits = limited(Quota(messages_per_minute=1), messages_per_minute=2)
    limits.admit("bob")
    for _ in range(5):
        refusal(limits)
        clock.now += 13
    limits.admit("ann")


def test_refusal_names_the_limit_with_the_longest_wait(limited):
    limits = limited(messages_per_minute=1, tokens_per_day=10)
    limits.admit("ann")
    limits.count(usage(10), None, "ann")
    assert "tokens" in str(refusal(limits))


def test_title_counts_for_the_shared_quota_only(limited):
    limits = limited(Quota(tokens_per_day=100), tokens_per_day=50, messages_per_minute=1)
    assert limits.has_shared_quota
    limits.count(usage(60, 40), PRICE)
    assert not limits.has_shared_quota
    assert "shared" in str(refusal(limits))


def test_zero_is_no_limit(limited):
    limits = limited()
    for _ in range(1000):
        limits.admit("ann")
        limits.count(usage(10**6), PRICE, "ann")
    assert not Quota()
    assert all(Quota(**{field.name: 1}) for field in dataclasses.fields(Quota))
    assert NoLimits().has_shared_quota


def test_every_limit_has_a_name_in_the_metrics(limited):
    limits = limited(SHARED_QUOTA, guests=SHARED_QUOTA, **dataclasses.asdict(USER_QUOTA))
    names = {one.name for one in (*limits._messages, *limits._tokens, *limits._cost)}
    other = {"new_guests", "uploads", "all_uploads", "imports", "storage", "all_storage", *LaneName}
    assert names == set(LIMIT_NAMES) - other
