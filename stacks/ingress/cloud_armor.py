"""Cloud Armor: rules for requests to the load balancer, before they reach the chat."""

from __future__ import annotations

import pulumi_gcp as gcp

REQUESTS_PER_MINUTE = 2_000
"""From one address, which may be an office: a page sends about 100 requests when it opens, then 6 a minute."""
BAN_SECONDS = 600

# Google's versions of the OWASP Core Rule Set; the lowest sensitivity has the fewest false positives. Chat messages
# contain code and SQL, which match these rules: they run in preview mode, which only logs what they would deny.
PREVIEW_RULES = {
    "sqli-v33-stable": "SQL injection",
    "xss-v33-stable": "scripts in requests",
    "lfi-v33-stable": "files of the server",
    "rce-v33-stable": "commands for the server",
    "scannerdetection-v33-stable": "scanners",
}


def armor_rules() -> list[gcp.compute.SecurityPolicyRuleArgs]:
    """Return the rules in the order of their priority.

    The preview rules come first: the rate limit's rule allows a request within the limit, which ends the evaluation.
    """
    any_address = gcp.compute.SecurityPolicyRuleMatchArgs(
        versioned_expr="SRC_IPS_V1", config=gcp.compute.SecurityPolicyRuleMatchConfigArgs(src_ip_ranges=["*"])
    )
    preview = [
        gcp.compute.SecurityPolicyRuleArgs(
            action="deny(403)",
            priority=1000 + number,
            preview=True,
            description=f"Watches for {what}, and refuses nothing",
            match=gcp.compute.SecurityPolicyRuleMatchArgs(
                expr=gcp.compute.SecurityPolicyRuleMatchExprArgs(
                    expression=f"evaluatePreconfiguredWaf('{rules}', {{'sensitivity': 1}})"
                )
            ),
        )
        for number, (rules, what) in enumerate(PREVIEW_RULES.items())
    ]
    rate = gcp.compute.SecurityPolicyRuleArgs(
        action="rate_based_ban",
        priority=2000,
        description="Bans an address for a while that asks too often",
        match=any_address,
        rate_limit_options=gcp.compute.SecurityPolicyRuleRateLimitOptionsArgs(
            conform_action="allow",
            exceed_action="deny(429)",
            enforce_on_key="IP",
            rate_limit_threshold=gcp.compute.SecurityPolicyRuleRateLimitOptionsRateLimitThresholdArgs(
                count=REQUESTS_PER_MINUTE, interval_sec=60
            ),
            ban_duration_sec=BAN_SECONDS,
        ),
    )
    default = gcp.compute.SecurityPolicyRuleArgs(
        action="allow", priority=2_147_483_647, description="Everything else", match=any_address
    )
    return [*preview, rate, default]
