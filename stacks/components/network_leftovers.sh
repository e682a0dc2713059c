#!/bin/sh
# Delete what GKE left behind in the stack's own network, which would otherwise block its deletion.
#
# GKE's controllers delete the firewall rules and network endpoint groups of load balancers while the cluster exists; some
# stay when it is deleted moments later (terraform-google-kubernetes-engine#2411, ingress-gce#1687). Only names that GKE
# generates are deleted. Environment: PROJECT, NETWORK (its name).
set -eu

# names LIST-COMMAND...: the resources of the network, one per line: "name" or "name zone".
list() { gcloud compute "$@" --project="$PROJECT" --quiet; }

status=0
for name in $(list firewall-rules list --filter="network:/$NETWORK\$ AND name~^(gke|k8s|gkegw)" --format='value(name)'); do
    echo "Deleting the firewall rule $name, which GKE left in the network $NETWORK." >&2
    list firewall-rules delete "$name" >&2 || status=1
done
list network-endpoint-groups list --filter="network:/$NETWORK\$ AND name~^(gke|k8s|gkegw)" \
    --format='value(name,zone.basename())' | while read -r name zone; do
    echo "Deleting the network endpoint group $name, which GKE left in the network $NETWORK." >&2
    list network-endpoint-groups delete "$name" --zone="$zone" >&2 </dev/null
done || status=1
exit "$status"
