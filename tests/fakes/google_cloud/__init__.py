"""A local Google Cloud: one project, and the APIs that the stack and `make doctor` use.

`Cloud` holds the state and the switches, `serving` answers HTTP for it: as an HTTPS proxy with a certificate authority
of its own, so that programs use Google's real addresses. It refuses what Google is documented or reported to refuse:
APIs that are not enabled, bodies that the discovery documents do not describe, references to what does not exist,
changes at the same time. It knows nothing of quotas beyond those of GPUs, and nothing of prices.
"""
