"""The composition root: a platform for the chat, its image, and the objects in its cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi

from stacks.cluster_objects import ClusterObjects
from stacks.components.image import ChatImage, ChatImageArgs
from stacks.platforms.google_cloud import google_cloud
from stacks.platforms.kubernetes_cluster import kubernetes_cluster
from stacks.validation.sign_in import public_access_warnings

if TYPE_CHECKING:
    from stacks.names import Names
    from stacks.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


class HybridChat(pulumi.ComponentResource):
    """The whole deployment.

    Attributes:
        outputs: name -> value, for `pulumi stack output`.
    """

    outputs: dict[str, pulumi.Input[str]]

    def __init__(self, name: str, settings: Settings, names: Names, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:HybridChat", name, {}, opts)
        for warning in public_access_warnings(settings):
            pulumi.log.warn(warning, self)
        create_platform = google_cloud if settings.on_gcp else kubernetes_cluster
        platform = create_platform(settings, names, self)
        root = Path(os.path.relpath(ROOT))  # relative, so that the state contains no path of this machine
        image = ChatImage(
            "image",
            ChatImageArgs(settings.image_source, root, platform.registry, settings.image_registry),
            pulumi.ResourceOptions(parent=self),
        )
        objects = ClusterObjects(settings, names, self, platform, image)
        self._log_shared_limits(settings)
        self.outputs = {**objects.outputs, **platform.outputs}
        self.register_outputs(self.outputs)

    def _log_shared_limits(self, settings: Settings) -> None:
        if settings.replicas > 1 and (settings.all_tokens_per_day or settings.all_cost_per_day):
            pulumi.log.info(
                f"Each of the {settings.replicas} replicas of the chat counts on its own, so each gets 1/"
                f"{settings.replicas} of allTokensPerDay and allCostPerDay.",
                self,
            )
