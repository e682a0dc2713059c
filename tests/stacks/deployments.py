"""Configurations that the tests deploy. `DEPLOYMENTS` have each component and each option at least once."""

from __future__ import annotations

import pytest

from stacks.components.gpu_profiles import PROFILES

PROJECT = "my-proj-1"
GCP = {"gcp:project": PROJECT}
KUBERNETES = {"platform": "kubernetes", "image": "example.org/chat:1"}
TOKEN = {"huggingFaceToken": "hf_abcdefghij"}
CLIENT = {"oauthClientId": "12-ab.apps.googleusercontent.com", "oauthClientSecret": "GOCSPX-secret"}
LIMITS = {
    "messagesPerMinute": "9",
    "tokensPerDay": "90000",
    "costPerDay": "0.5",
    "allTokensPerDay": "1000000",
    "allCostPerDay": "20",
}

DEPLOYMENTS: dict[str, dict[str, str]] = {
    "gcp": GCP,
    "gcp, own sign-in, limits": GCP
    | CLIENT
    | LIMITS
    | {"allowedPeople": "ann@example.org example.com", "guests": "true", "cloudArmor": "true"},
    "gcp, own domain, own client of IAP, fallback": GCP
    | CLIENT
    | {"identity": "iap", "domain": "chat.example.org", "gpuFallback": "true"},
    "gcp, unencrypted, without Gemma": GCP | {"exposure": "public-http", "gemma": "none", "retentionDays": "30"},
    "gcp, private, four GPUs, image built by Docker": GCP
    | TOKEN
    | {"exposure": "private", "gemma": "l4x4", "image": "docker"},
    "kubernetes": KUBERNETES | {"storageClass": "fast"},
    "kubernetes, public, GPUs": KUBERNETES | TOKEN | {"exposure": "public-http", "gemma": "l4x4"},
    "kubernetes, other server of Gemma": {
        "platform": "kubernetes",
        "geminiApiKey": "AIza",
        "gemmaUrl": "http://x:1",
        "gemmaModel": "team/gemma3",
        "gemmaApiKey": "k",
    },
}
MORE_DEPLOYMENTS: dict[str, dict[str, str]] = {
    **{f"gcp {profile}": GCP | TOKEN | {"gemma": profile} for profile in PROFILES},
    "gcp l4x2 with a fallback": GCP | TOKEN | {"gemma": "l4x2", "gpuFallback": "true"},
    "gcp, anonymous": GCP | {"identity": "anonymous"},
    "gcp, existing image, other regions": GCP
    | {"image": "example.org/chat:1", "gcp:region": "europe-west4", "databaseLocation": "eur3", "network": "lan"},
    **{f"kubernetes {profile}": KUBERNETES | TOKEN | {"gemma": profile} for profile in PROFILES},
    "kubernetes, own sign-in": KUBERNETES | CLIENT | {"identity": "google", "allowedPeople": "example.com"},
}


def all_deployments() -> list[pytest.ParameterSet]:
    """Return every configuration, those beyond the representative ones marked `long`."""
    return [
        *(pytest.param(config, id=name) for name, config in DEPLOYMENTS.items()),
        *(pytest.param(config, id=name, marks=pytest.mark.long) for name, config in MORE_DEPLOYMENTS.items()),
    ]
