"""The allow-list allows exactly the accounts and domains that it names."""

import pytest

from chatapp.auth.allow_list import AllowList
from chatapp.auth.oidc import GOOGLE, OidcProvider


@pytest.mark.parametrize(
    ("items", "address", "domain", "is_in"),
    [
        ("ana@example.org", "Ana@Example.org", "", True),
        ("ana@example.org", "", "example.org", False),
        ("example.org", "", "EXAMPLE.ORG", True),
        ("example.org", "ana@example.org", "", False),
        ("*", "", "", True),
        ("", "ana@example.org", "example.org", False),
        ("", "", "", False),
        ("kate@example.org", "\N{KELVIN SIGN}ate@example.org", "", False),
        ("ana@example.org", "ana@example.org ", "", False),
        ("דוגמה.example", "", "xn--6dbbec0c.example", True),
        ("xn--6dbbec0c.example", "", "דוגמה.example", True),
        ("ana@דוגמה.example", "Ana@XN--6DBBEC0C.example", "", True),
        ("רות@דוגמה.example", "רות@xn--6dbbec0c.example", "", True),
        ("JOS\u00c9@example.org", "jose\u0301@example.org", "", True),  # one letter, or two characters
        ("jose@example.org", "jos\u00e9@example.org", "", False),
        ("kate.example", "", "\N{KELVIN SIGN}ate.example", False),
        ("fi@example.org", "\N{LATIN SMALL LIGATURE FI}@example.org", "", False),
        ("ss@example.org", "\u00df@example.org", "", False),
        ("ana@example.org example.com", "eve@x.example", "example.com", True),
    ],
)
def test_list_allows_exactly_its_addresses_and_domains(items, address, domain, is_in):
    assert AllowList(items.split()).allows(address, domain) == is_in


@pytest.mark.parametrize(
    ("said", "domain"),
    [
        ({"email": "ana@example.org", "email_verified": True}, ""),  # an account that anybody can have made
        ({"email": "ana@example.org", "email_verified": True, "hd": "example.org"}, "example.org"),
        ({"email": "ana@example.org", "email_verified": True, "hd": "other.example"}, "other.example"),
        ({"email": "ana@example.org", "email_verified": False, "hd": "example.org"}, ""),
        ({"email": "ana@example.org", "email_verified": True, "hd": ["example.org"]}, ""),
    ],
)
def test_domain_of_a_google_account_comes_from_the_hd_claim_only(said, domain):
    assert OidcProvider(GOOGLE, "client", "secret")._checked({"sub": "1", **said}).domain == domain


def test_domain_at_another_provider_is_that_of_the_verified_address():
    provider = OidcProvider("https://id.example.org", "client", "secret")
    said = {"sub": "1", "email": "ana@example.org", "email_verified": True, "hd": "evil.example"}
    assert provider._checked(said).domain == "example.org"
    assert provider._checked(said | {"email_verified": False}).domain == ""
