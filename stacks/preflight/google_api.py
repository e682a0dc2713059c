"""Read Google's APIs over HTTPS, with the credentials that Pulumi uses. Nothing is changed."""

import json
import os
import urllib.error
import urllib.request
from typing import Any

from stacks.preflight.programs import output_of

TIMEOUT_SECONDS = 20.0
# gcloud's own project, which a person's credentials without a quota project are charged to.
_GCLOUD_PROJECT = "764086051850"

Json = dict[str, Any]


class UnreadableError(Exception):
    """Something cannot be read now; the text says why, as the end of a sentence."""


class AbsentError(Exception):
    """Google has no such resource."""


class ForbiddenError(UnreadableError):
    """The account may not read it."""


def access_token() -> str:
    """Return a token of the credentials that Pulumi uses; empty: there are none."""
    return (
        os.environ.get("GOOGLE_OAUTH_ACCESS_TOKEN")
        or output_of("gcloud", "auth", "application-default", "print-access-token")
        # With a key in GOOGLE_CREDENTIALS, only Pulumi has the account; gcloud's own comes closest.
        or output_of("gcloud", "auth", "print-access-token")
        or ""
    )


class GoogleApi:
    """Sends requests for one project.

    Args:
        project: its ID.
        token: of `access_token`.
    """

    def __init__(self, project: str, token: str) -> None:
        self.project, self._token = project, token

    def read(self, url: str, body: Json | None = None) -> Json:
        """Return the answer of an API; with a body, to a POST, which these APIs use for some questions too.

        Raises:
            UnreadableError: it cannot be read.
            AbsentError: it does not exist.
        """
        try:
            return self._sent(url, body, {"Authorization": f"Bearer {self._token}"})
        except _QuotaProjectError:
            # Some APIs count a request against the caller's project, which credentials of gcloud do not name.
            headers = {"Authorization": f"Bearer {self._token}", "x-goog-user-project": self.project}
            return self._sent(url, body, headers)

    def read_public(self, url: str, token: str = "") -> Json:
        """Return the answer of a server that is not Google Cloud's, which never sees Google's token.

        Raises:
            UnreadableError: it cannot be read.
            AbsentError: it does not exist.
        """
        return self._sent(url, None, {"Authorization": f"Bearer {token}"} if token else {})

    def _sent(self, url: str, body: Json | None, headers: dict[str, str]) -> Json:
        data = None if body is None else json.dumps(body).encode()
        headers = {**headers, "Content-Type": "application/json"}
        request = urllib.request.Request(url, data, headers)  # noqa: S310 - every address here is an https one
        host = request.host
        try:
            # An opener of its own reads the proxy's variables each time.
            with urllib.request.build_opener().open(request, timeout=TIMEOUT_SECONDS) as answer:
                content = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error, host, is_retry="x-goog-user-project" in headers) from None
        except OSError as error:
            is_late = "timed out" in str(error)
            reason = f"did not answer within {TIMEOUT_SECONDS:g} seconds" if is_late else "cannot be reached"
            raise UnreadableError(f"{host} {reason}") from None
        except ValueError:
            raise UnreadableError(f"the answer of {host} is not JSON: a proxy may have sent its own page") from None
        return content if isinstance(content, dict) else {}


class _QuotaProjectError(UnreadableError):
    """The API wants to know a project to count the request against."""


def _refusal(error: urllib.error.HTTPError, host: str, *, is_retry: bool) -> Exception:
    text = error.read().decode(errors="replace")
    if error.code == 404:
        return AbsentError(host)
    if error.code == 401:
        return UnreadableError("the credentials are not accepted: gcloud auth application-default login")
    if error.code == 403:
        if not is_retry and (_GCLOUD_PROJECT in text or "quota project" in text):
            return _QuotaProjectError(f"{host} wants a quota project")
        if "SERVICE_DISABLED" in text or "has not been used in project" in text:
            return UnreadableError(f"the API {host} is not enabled in the project")
        return ForbiddenError("this account may not read it")
    return UnreadableError(f"{host} answers with status {error.code}")
