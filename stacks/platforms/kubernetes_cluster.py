"""A Kubernetes cluster that is there already: the chat's history is on a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from stacks.components.chat import Volume
from stacks.components.cluster import cluster_provider
from stacks.components.fixed import Fixed, FixedSettings
from stacks.ingress.ingress import Ingress
from stacks.kubeconfig import current_context
from stacks.platforms import Platform
from stacks.settings import secret_output

if TYPE_CHECKING:
    from stacks.names import Names
    from stacks.settings import Settings


def kubernetes_cluster(settings: Settings, names: Names, parent: pulumi.Resource) -> Platform:
    """Return the cluster of `kubernetes:context`, or the current one; nothing is created outside it."""
    kubeconfig = settings.kubeconfig.get_secret_value()
    # The context is written into the state, so that `pulumi destroy`, which does not run this program, goes to this
    # cluster, and not to the one that is current by then. Empty: the cluster that this runs in.
    context = settings.kube_context or current_context(kubeconfig)
    provider = cluster_provider(
        parent, kubeconfig=secret_output(settings.kubeconfig), context=context or None, is_owned=False
    )
    fixed = FixedSettings("fixed", _fixed(settings, context, provider, parent), pulumi.ResourceOptions(parent=parent))
    if not (settings.gpu_profile or settings.gemma_url or settings.gemini_api_key.get_secret_value()):
        pulumi.log.warn(
            "The chat will have no model: set gemmaUrl, gemma (if the cluster has GPUs) or geminiApiKey.", parent
        )
    return Platform(
        provider=provider,
        ingress=Ingress(settings, names, parent),
        volume=Volume(settings.volume_size, fixed.then(settings.storage_class), names.chat_volume),
    )


def _fixed(
    settings: Settings, context: str, provider: kubernetes.Provider, parent: pulumi.Resource
) -> dict[str, Fixed]:
    # A cluster has no name of its own; the ID of this namespace, which each cluster has, stands for it.
    cluster = kubernetes.core.v1.Namespace.get(
        "cluster", "kube-system", opts=pulumi.ResourceOptions(parent=parent, provider=provider)
    ).metadata.uid
    elsewhere = "the chat and its conversations are in the first cluster, and Pulumi would lose track of them"
    return {
        "context": Fixed(context, "kubernetes:context", elsewhere),
        "cluster": Fixed(
            cluster,
            "The cluster (the ID of its namespace kube-system)",
            elsewhere,
            f"Let the context {context or 'of this pod'} lead to the first cluster. If that is gone for good, "
            "remove the stack's record of it: pulumi stack rm --force --preserve-config",
        ),
        "storage-class": Fixed(
            settings.storage_class,
            "storageClass",
            "Pulumi would delete the volume with all conversations, and create an empty one",
        ),
    }
