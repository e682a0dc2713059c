"""The parts of Authlib's Starlette client that are not public.

Written for Authlib 1.9.10; tests/chatapp/auth/test_authlib_compat.py checks what is used.

- `set_session`: Authlib keeps state, nonce and PKCE verifier in ``request.session``, which means Starlette's
  SessionMiddleware, a signed but readable cookie on every path. The chat has an encrypted cookie for the sign-in only.
  It can go when Authlib takes a store per call: https://github.com/authlib/authlib/issues/425 and
  https://github.com/authlib/authlib/issues/878.
- `has_state`: Authlib compares the state only after it has loaded the provider's metadata. The chat compares it before,
  so that a request without it never reaches the provider.
- `restrict_algorithms`, `forget_metadata`, `are_loaded`: Authlib accepts every signing algorithm that the provider's
  metadata list, and caches the metadata for the life of the process. They can go when Authlib has options for the
  first two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.requests import Request

# Asymmetric signatures only: the provider alone has the private key.
SIGNING_ALGORITHMS = frozenset(
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
)


def set_session(request: Request, session: dict[str, Any]) -> None:
    """Make this dictionary ``request.session``; Authlib reads and changes it in place."""
    request.scope["session"] = session


def has_state(session: dict[str, Any], state: str) -> bool:
    """Return whether this session has started the sign-in with this state, at the client named "provider"."""
    return bool(state) and f"_state_provider_{state}" in session


def are_loaded(metadata: dict[str, Any]) -> bool:
    """Return whether Authlib has the provider's metadata, given its dictionary for them."""
    return "_loaded_at" in metadata


def restrict_algorithms(metadata: dict[str, Any]) -> None:
    """Remove all algorithms but `SIGNING_ALGORITHMS` from Authlib's copy of the provider's metadata."""
    algorithms = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]  # Authlib's own default
    metadata["id_token_signing_alg_values_supported"] = [name for name in algorithms if name in SIGNING_ALGORITHMS]


def forget_metadata(metadata: dict[str, Any]) -> None:
    """Have Authlib load the provider's metadata again at the next sign-in."""
    metadata.clear()
