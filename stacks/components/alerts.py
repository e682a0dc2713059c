"""A dashboard, and alerts by e-mail, from the metrics of the chat and of Gemma in Cloud Monitoring."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import pulumi
import pulumi_gcp as gcp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Alert(NamedTuple):
    """When to send an e-mail.

    Attributes:
        title: for a person; docs/operate.md has a line for each.
        query: in PromQL, true while there is a problem; ``SELF`` stands for the labels of this deployment.
        minutes: how long it must be true.
        advice: what to look at first.
    """

    title: str
    query: str
    minutes: int
    advice: str


CHAT_ALERTS = (
    Alert(
        "The chat is down",
        "absent(hybrid_chat_build_info{SELF})",
        10,
        "No replica reports metrics: kubectl -n hybrid-chat get pods.",
    ),
    Alert(
        "No question is answered",
        "sum(rate(hybrid_chat_turns_total{SELF}[15m])) > 0 "
        'unless sum(rate(hybrid_chat_turns_total{SELF,status="complete"}[15m])) > 0',
        5,
        "People ask, and no answer is complete: the log's model_is_down says why, and Status of Google Cloud whether "
        "Vertex AI has a fault.",
    ),
    Alert(
        "Many answers fail",
        'sum(rate(hybrid_chat_turns_total{SELF,status="error"}[15m])) '
        "/ sum(rate(hybrid_chat_turns_total{SELF}[15m])) > 0.1",
        10,
        "More than one in ten answers ends with an error: look at the log's errors by model.",
    ),
    Alert(
        "The first word is slow",
        "histogram_quantile(0.95, sum by (le, model) (rate(hybrid_chat_first_token_seconds_bucket{SELF}[15m]))) > 20",
        15,
        "One in twenty answers waits more than 20 s for its first token: look at Gemma's queue on the dashboard. "
        "Another GPU profile, or fewer people at once, helps.",
    ),
    Alert(
        "Messages wait for Firestore",
        "max by (pod) (hybrid_chat_journal_age_seconds{SELF}) > 300 "
        "or max by (pod) (hybrid_chat_journal_writes{SELF} / hybrid_chat_journal_writes_limit{SELF}) > 0.5",
        5,
        "They are only in a pod until Firestore has them: do not delete pods. delivery_set_aside in the log names a "
        "conversation that Firestore refuses.",
    ),
)
GEMMA_ALERTS = (
    Alert(
        "Gemma is not ready",
        "max(hybrid_chat_gemma_not_ready_seconds{SELF}) > 1800",
        1,
        "Gemma has waited for a GPU, loaded or failed for more than 30 minutes: the picker and the output status say "
        "why. Another region or gpuFallback true finds more GPUs; gemma none ends the attempts.",
    ),
    Alert(
        "The GPU is idle",
        "sum(max_over_time(vllm:num_requests_running{SELF}[3h])) == 0",
        5,
        "Gemma has run for three hours without a question, and its GPU costs: set gemma none, or scale WORKLOAD to 0.",
    ),
    Alert(
        "Gemma's queue is long",
        "sum(vllm:num_requests_waiting{SELF}) > 16",
        10,
        "More questions wait than run: people wait for minutes. A larger GPU profile answers more of them at once.",
    ),
)

COST_ALERT = Alert(
    "The cost of a day is high",
    "sum(increase(hybrid_chat_cost_dollars_total{SELF}[24h])) > LIMIT",
    5,
    "The tokens of 24 hours cost more than 80 % of allCostPerDay, at which messages are rejected until midnight UTC. "
    "hybrid_chat_cost_dollars_total by model shows which one it was.",
)
"""Where `allCostPerDay` says what a day may cost."""


@dataclass(frozen=True)
class AlertsArgs:
    """Arguments of `Alerts`.

    Attributes:
        project: the project's ID.
        name: of dashboard and channel, for a person.
        namespace: of the chat.
        cluster: of the chat.
        email: who gets the alerts.
        gemma: name of Gemma's workload on GPUs of this deployment; empty: there is none.
        cost_per_day: US dollars that the tokens of a day may cost; 0: no limit is set.
        labels: of channel and alerts.
        depends_on: the API of Cloud Monitoring.
        hooks: retries while it is not ready (`ProjectServices.hooks`).
    """

    project: str
    name: str
    namespace: str
    cluster: str
    email: str
    gemma: str
    cost_per_day: float = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class Alerts(pulumi.ComponentResource):
    """Alert policies with the e-mail address that they go to, and a dashboard of the same figures."""

    def __init__(self, name: str, args: AlertsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:Alerts", name, {}, opts)
        options = pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks)
        channel = gcp.monitoring.NotificationChannel(
            "email",
            project=args.project,
            display_name=args.name,
            type="email",
            labels={"email_address": args.email},
            user_labels=args.labels,
            opts=options,
        )
        alerts = [*CHAT_ALERTS, *(GEMMA_ALERTS if args.gemma else ())]
        if args.cost_per_day:
            alerts.append(COST_ALERT._replace(query=COST_ALERT.query.replace("LIMIT", f"{0.8 * args.cost_per_day:g}")))
        for alert in alerts:
            gcp.monitoring.AlertPolicy(
                alert.title.lower().replace(" ", "-").replace("'", ""),
                project=args.project,
                display_name=f"{args.name}: {alert.title}",
                combiner="OR",
                conditions=[
                    gcp.monitoring.AlertPolicyConditionArgs(
                        display_name=alert.title,
                        condition_prometheus_query_language=(
                            gcp.monitoring.AlertPolicyConditionConditionPrometheusQueryLanguageArgs(
                                query=_of_this(alert.query, args),
                                duration=f"{alert.minutes * 60}s",
                                evaluation_interval="60s",
                                # No metric exists before the first scrape.
                                disable_metric_validation=True,
                            )
                        ),
                    )
                ],
                notification_channels=[channel.name],
                documentation=gcp.monitoring.AlertPolicyDocumentationArgs(
                    content=f"{alert.advice.replace('WORKLOAD', args.gemma)}\n\nMore in docs/operate.md, Alerts.",
                    mime_type="text/markdown",
                ),
                user_labels=args.labels,
                opts=options,
            )
        gcp.monitoring.Dashboard("dashboard", project=args.project, dashboard_json=_dashboard(args), opts=options)
        self.register_outputs({})


_CHAT_CHARTS = {
    "Answers a minute, by status": "sum by (status) (rate(hybrid_chat_turns_total{SELF}[5m])) * 60",
    "First token, 95 % (s)": (
        "histogram_quantile(0.95, sum by (le, model) (rate(hybrid_chat_first_token_seconds_bucket{SELF}[5m])))"
    ),
    "Questions that run and wait": "sum(hybrid_chat_turns_running{SELF}) + sum(hybrid_chat_turns_waiting{SELF})",
    "US dollars of tokens an hour": "sum by (model) (increase(hybrid_chat_cost_dollars_total{SELF}[1h]))",
    "Tokens of answers a minute": "sum by (model) (rate(hybrid_chat_completion_tokens_total{SELF}[5m])) * 60",
    "Oldest message that is not in Firestore (s)": "max by (pod) (hybrid_chat_journal_age_seconds{SELF})",
}
_GEMMA_CHARTS = {
    "Gemma: not ready since (s)": "max(hybrid_chat_gemma_not_ready_seconds{SELF})",
    "Gemma: requests that run": "sum(vllm:num_requests_running{SELF})",
    "Gemma: requests that wait": "sum(vllm:num_requests_waiting{SELF})",
    "Gemma: use of the cache": "max(vllm:kv_cache_usage_perc{SELF})",
}


def _dashboard(args: AlertsArgs) -> str:
    charts = _CHAT_CHARTS | (_GEMMA_CHARTS if args.gemma else {})
    tiles = [
        {
            "xPos": 24 * (number % 2),
            "yPos": 16 * (number // 2),
            "width": 24,
            "height": 16,
            "widget": {
                "title": title,
                "xyChart": {
                    "dataSets": [{"timeSeriesQuery": {"prometheusQuery": _of_this(query, args)}, "plotType": "LINE"}]
                },
            },
        }
        for number, (title, query) in enumerate(charts.items())
    ]
    document = {
        "displayName": args.name,
        "mosaicLayout": {"columns": 48, "tiles": tiles},
        "labels": {"hybrid-chat": ""},
    }
    return json.dumps(document)


def _of_this(query: str, args: AlertsArgs) -> str:
    return query.replace("SELF", f'cluster="{args.cluster}",namespace="{args.namespace}"')
