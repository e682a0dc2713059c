"""The list of sessions names browsers and systems by fixed words."""

import pytest

from chatapp.auth.session_list import device_name

MOZILLA = "Mozilla/5.0 "
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (f"{MOZILLA}(Windows NT 10.0; Win64; x64) {CHROME}", "Chrome, Windows"),
        (f"{MOZILLA}(Windows NT 10.0; Win64; x64) {CHROME} Edg/140.0.0.0", "Edge, Windows"),
        (f"{MOZILLA}(X11; CrOS x86_64 14541.0.0) {CHROME}", "Chrome, ChromeOS"),
        (f"{MOZILLA}(Linux; Android 10; K) {CHROME}", "Chrome, Android"),
        (f"{MOZILLA}(X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox, Linux"),
        (
            f"{MOZILLA}(iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari, iPhone",
        ),
        (
            f"{MOZILLA}(Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/18.0 Safari/605.1.15",
            "Safari, macOS",
        ),
        ("curl/8.5.0", ""),
        ("", ""),
        ("<script>Ana's laptop</script>", ""),
        ("x" * 100_000 + "Firefox/", ""),
    ],
)
def test_devices_are_named_by_fixed_words(user_agent, name):
    assert device_name(user_agent) == name
