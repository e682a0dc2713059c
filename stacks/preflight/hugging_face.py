"""Check whether Hugging Face gives out Gemma's weights."""

from collections.abc import Iterable

from stacks.preflight.checks import Check, Finding, Project
from stacks.preflight.google_api import AbsentError, ForbiddenError, UnreadableError

SITE = "https://huggingface.co"


def _weights(project: Project) -> Iterable[Finding]:
    profile = project.settings.gpu_profile
    if profile is None:
        return
    model = project.settings.gemma_model or profile.model
    try:
        # What huggingface_hub.auth_check asks.
        project.api.read_public(f"{SITE}/api/models/{model}/auth-check", project.hugging_face_token)
    except ForbiddenError:
        yield (
            "fail",
            f"Hugging Face does not give the weights {model} to the account of huggingFaceToken: accept their terms at "
            f"{SITE}/{model} with that account, or Gemma would never start",
        )
    except AbsentError:
        yield "fail", f"Hugging Face has no weights {model}: mend gemmaModel, or remove it for {profile.model}"
    except UnreadableError as error:
        if "credentials" not in str(error):
            raise
        if project.hugging_face_token:
            yield (
                "fail",
                "Hugging Face does not accept huggingFaceToken: create one with read access at "
                f"{SITE}/settings/tokens, and: pulumi config set --secret huggingFaceToken",
            )
        else:  # what it answers for a name that does not exist, or is private
            yield "fail", f"Hugging Face has no public weights {model}: mend gemmaModel, or set huggingFaceToken"
    else:
        yield "pass", f"weights {model}"


CHECK = Check("weights on Hugging Face", _weights, lambda settings: settings.gpu_profile is not None)
