"""Configurations that the tests deploy. `DEPLOYMENTS` have each component and each option at least once."""

from __future__ import annotations

import pytest

from gemma.profiles import PROFILES

PROJECT = "my-proj-1"
GCP = {"gcp:project": PROJECT}
KUBERNETES = {"platform": "kubernetes", "image": "example.org/chat:1"}
TOKEN = {"huggingFaceToken": "hf_abcdefghij"}
CLIENT = {"oauthClientId": "12-ab.apps.googleusercontent.com", "oauthClientSecret": "GOCSPX-secret"}
PEOPLE = {"allowedPeople": '["Ann@example.org", "example.com"]'}
LIMITS = {
    "messagesPerMinute": "9",
    "tokensPerDay": "5000",
    "costPerDay": "0.50",
    "allTokensPerDay": "100001",
    "allCostPerDay": "5",
}

GOOGLE_SIGN_IN = GCP | CLIENT | PEOPLE | LIMITS | {"guests": "true", "cloudArmor": "true", "shareLinks": "users"}
GOOGLE_SIGN_IN |= {"installable": "true"}
OWN_IAP_CLIENT = (
    GCP
    | CLIENT
    | PEOPLE
    | {"identity": "iap", "domain": "chat.example.org", "cloudArmor": "true", "gpuFallback": "true"}
    | {"gemmaIdleMinutes": "30", "gemmaOfficeHours": "Sun-Thu 08:00-18:00 Asia/Jerusalem"}
    | {"gemmaMaxReplicas": "3", "releaseChannel": "RAPID"}
)
PUBLIC_HTTP = (
    GCP
    | {"exposure": "public-http", "gemma": "none", "retentionDays": "30", "monthlyBudget": "300"}
    | {"pointInTimeRecovery": "true", "backupDays": "7", "alertEmail": "ops@example.org"}
    | {"otelEndpoint": "http://collector.monitoring.svc:4318"}
)
EUROPEAN = GCP | {"residency": "eu", "gcp:region": "europe-west4", "exposure": "private", "gemma": "none"}
EUROPEAN |= {"embeddings": "gemini"}
PRIVATE = GCP | TOKEN | {"exposure": "private", "gemma": "l4x4", "image": "docker", "weightsBucket": "true"}
LARGE_MODEL = {"gemmaModel": "deepseek-ai/DeepSeek-V3.2"}
SEVERAL_MACHINES = GCP | LARGE_MODEL | {"gemma": "h100x16", "gemmaIdleMinutes": "30", "weightsBucket": "true"}
SEVERAL_MACHINES |= {"gemmaRevision": "a" * 40, "exposure": "private", "image": "example.org/chat:1"}
INFERENCE_GATEWAY = (
    GCP
    | {"exposure": "private", "image": "example.org/chat:1", "gemmaIdleMinutes": "30"}
    | {"gemmaMaxReplicas": "3", "releaseChannel": "RAPID", "gemmaRouting": "inference-gateway"}
)
KUBERNETES_GPUS = KUBERNETES | {
    "exposure": "public-http",
    "gemma": "l4x1",
    "storageClass": "fast",
    "gemmaIdleMinutes": "60",
}
OTHER_GEMMA = {
    "platform": "kubernetes",
    "geminiApiKey": "AIza-12345678",
    "gemmaUrl": "http://ollama:11434",
    "gemmaModel": "team/gemma3",
    "gemmaApiKey": "key-87654321",
    "embeddings": "server",
    "embeddingsUrl": "http://tei.embeddings.svc:8080",
    "embeddingsModel": "intfloat/multilingual-e5-small",
    "embeddingsApiKey": "key-13572468",
    "embeddingsPlace": "other-server",
    "embeddingsElsewhere": "true",
}


def of_profile(profile: str) -> dict[str, str]:
    """Return the settings of a GPU profile."""
    return {"gemma": profile} | ({} if PROFILES[profile].model else LARGE_MODEL)


DEPLOYMENTS: dict[str, dict[str, str]] = {
    "gcp": GCP,
    "gcp, own sign-in, limits": GOOGLE_SIGN_IN,
    "gcp, own domain, own client of IAP, fallback": OWN_IAP_CLIENT,
    "gcp, unencrypted, without Gemma": PUBLIC_HTTP,
    "gcp, in the European Union": EUROPEAN,
    "gcp, private, four GPUs, weights in a bucket, image built by Docker": PRIVATE,
    "gcp, private, servers of Gemma behind a load balancer": INFERENCE_GATEWAY,
    "gcp, private, a model on several machines": SEVERAL_MACHINES,
    "kubernetes": KUBERNETES,
    "kubernetes, public, GPUs": KUBERNETES_GPUS,
    "kubernetes, other server of Gemma": OTHER_GEMMA,
}
MORE_DEPLOYMENTS: dict[str, dict[str, str]] = {
    **{f"gcp {profile}": GCP | TOKEN | of_profile(profile) for profile in PROFILES},
    "gcp l4x2 with a fallback": GCP | TOKEN | {"gemma": "l4x2", "gpuFallback": "true"},
    "gcp, anonymous": GCP | {"identity": "anonymous"},
    "gcp, private nodes": GCP | {"privateNodes": "true"},
    "gcp, servers of Gemma behind a load balancer, existing network": INFERENCE_GATEWAY
    | {"network": "lan", "subnetwork": "lan-us", "proxyRange": "10.129.0.0/23"},
    "gcp, all Google accounts": OWN_IAP_CLIENT | {"allowedPeople": "*"},
    "gcp, existing image, other regions": GCP
    | {"image": "example.org/chat:1", "gcp:region": "europe-west4", "databaseLocation": "eur3", "network": "lan"},
    **{f"kubernetes {profile}": KUBERNETES | TOKEN | of_profile(profile) for profile in PROFILES},
    "kubernetes, own sign-in": KUBERNETES | CLIENT | {"identity": "google", "allowedPeople": "example.com"},
}


def all_deployments() -> list[pytest.ParameterSet]:
    """Return every configuration, those beyond the representative ones marked `long`."""
    return [
        *(pytest.param(config, id=name) for name, config in DEPLOYMENTS.items()),
        *(pytest.param(config, id=name, marks=pytest.mark.long) for name, config in MORE_DEPLOYMENTS.items()),
    ]
