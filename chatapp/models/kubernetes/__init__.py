"""A model that runs in the chat's own cluster: its state in words, from what the Kubernetes API says of it.

`api` sends requests, as the service account of the chat's pod. `reflector` has a copy of one list of objects, with a
watch while it is needed. `pod_watch` collects an `Observation` from copies of the pods and events, only while the model
does not answer; `diagnosis` turns it into a status. `scheduling`, `startup` and `failures` read the words of the
scheduler and the autoscaler, of vLLM's log, and of a container that ended.
"""
