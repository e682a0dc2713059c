"""The codes and words of errors that providers send, as their documentation and issue trackers quote them.

``tests/chatapp/models/test_error_shapes.py`` has the errors and their sources.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from chatapp.models.openai.error_facts import normalized


class ErrorKind(Enum):
    """Kinds that differ in what helps."""

    NO_IMAGES = auto()
    TOO_MANY_IMAGES = auto()
    TOO_LONG = auto()
    MAX_TOKENS = auto()  # more than the model can write
    FILTERED = auto()
    NO_CREDIT = auto()
    QUOTA = auto()
    RATE = auto()
    KEY = auto()
    REGION = auto()
    PERMISSION = auto()
    NO_MODEL = auto()
    LOADING = auto()
    OVERLOADED = auto()
    OTHER = auto()


KINDS_OF_CODES: Final = {
    normalized(code): kind
    for kind, codes in {
        ErrorKind.TOO_LONG: (
            *(
                "context_length_exceeded",
                "exceed_context_size_error",
                "ContextWindowExceededError",
                "request_too_large",
            ),
            *("tokens_limit_reached", "string_above_max_length", "model_max_prompt_tokens_exceeded"),
            *("prompt_too_long", "context_window_exceeded", "1261"),  # the number is Zhipu's, like those below
        ),
        ErrorKind.FILTERED: (
            *("content_filter", "content_policy_violation", "ContentPolicyViolationError", "moderation_blocked"),
            *("ResponsibleAIPolicyViolation", "data_inspection_failed", "content_filtered", "invalid_prompt", "1301"),
            *("InternalError.Algo.DataInspectionFailed", "SensitiveContentDetected", "content_moderation"),
        ),
        ErrorKind.NO_CREDIT: (
            *(
                "billing_not_active",
                "billing_hard_limit_reached",
                "account_deactivated",
                "Arrearage",
                "payment_required",
            ),
            *("insufficient_credits", "insufficient_balance", "CreditsError", "exceeded_current_quota_error"),
            *("1113", "billing_error", "30001", "30011"),  # the numbers are SiliconFlow's
        ),
        ErrorKind.QUOTA: (
            *("insufficient_quota", "quota_exceeded", "insufficient_user_quota", "pre_consume_token_quota_failed"),
            *("usage_limit_reached", "AllocationQuota.FreeTierOnly", "access_terminated_error"),
        ),
        ErrorKind.RATE: (
            *("rate_limit_exceeded", "rate_limit_error", "too_many_requests", "limit_requests", "limit_burst_rate"),
            *("rate_limit_reached_error", "Throttling", "Throttling.RateQuota", "ThrottlingException", "1302", "1303"),
            *("requests_rate_limited", "rate_limited", "RateLimitReached"),
        ),
        ErrorKind.REGION: ("unsupported_country_region_territory",),
        ErrorKind.KEY: (
            *("invalid_api_key", "authentication_error", "invalid_authentication_error", "API_KEY_INVALID", "1000"),
            *("incorrect_api_key_error", "invalid_token", "token_expired", "1001", "1002", "1003", "1004"),
        ),
        ErrorKind.PERMISSION: (
            "permission_error",
            "model_access_denied",
            "AccessDeniedException",
            "Model.AccessDenied",
        ),
        ErrorKind.NO_MODEL: (
            *("model_not_found", "ModelNotFound", "DeploymentNotFound", "model_not_exist", "invalid_model"),
            *("unknown_model", "model_decommissioned", "ModelNotOpen", "resource_not_found_error", "1211", "20012"),
        ),
        ErrorKind.OVERLOADED: (
            *("overloaded_error", "engine_overloaded_error", "server_overloaded", "slow_down", "model_overloaded"),
            *("capacity_exceeded", "service_overloaded", "1305", "50505"),
        ),
    }.items()
    for code in codes
}

_NOT_OF_ONE_IMAGE: Final = (
    r"\A(?s:(?!.*(format|mime|decode|corrupt|resolution|dimension|too large|base64|download|fetch|pixels))).*?"
)

# The first match counts: what is specific stands before words that other messages hold, too.
WORDS: Final = tuple(
    (kind, re.compile("|".join(patterns)))
    for kind, patterns in (
        (
            ErrorKind.TOO_MANY_IMAGES,
            (
                r"at most [1-9]\d* image",
                r"too many images",
                r"(maximum|max)( number of)? \d* ?images",
            ),
        ),
        (
            ErrorKind.NO_IMAGES,
            (
                r"at most 0 image",
                r"missing data required for image",
                r"no endpoints found that support image",
                r"image_url\W? is only supported",
                r"unknown variant \W?image_url",
                r"(only|just) (supports?|accepts?) text",
                r"text-only model",
                r"content must be a string",
                r"untagged enum chatcompletionrequestcontent",
                r"invalid type: sequence, expected a string",
                r"list\[textcontentpart\]",
                r"不支持.{0,6}(图|视觉|多模态)",
                # In general, but not of one image that is damaged, too large or of a wrong format.
                _NOT_OF_ONE_IMAGE + r"(image|vision|visual|multi-?modal|picture)s?\b[^.]{0,60}"
                r"(not|n't|un|cannot)[ -]?(be )?(support|accept|allow|process|enabled|capable|available|a valid input)",
                _NOT_OF_ONE_IMAGE
                + r"(not|n't|un|cannot|no|without)[ -]?(a |an |have |be |support|accept|allow|process|handle"
                r"|see|capable|able|contain)[^.]{0,40}(image|vision|visual|multi-?modal|picture)",
            ),
        ),
        (
            ErrorKind.MAX_TOKENS,
            (
                r"max_(completion_|output_)?tokens\W{0,2} (is too (large|high)|must be less|cannot exceed|should be)",
                r"supports at most \d+ (completion|output) tokens",
                r"invalid max_(completion_)?tokens",
                r"max_tokens: \d+ > \d+",
                r"range of max_(completion_)?tokens should be",
            ),
        ),
        (
            ErrorKind.TOO_LONG,
            (
                r"context[ _](length|size|window|limit)",
                r"(maximum|max) context",
                r"reduce (the |your )?(length|size|number of tokens|prompt|messages?|input)",
                r"(input|prompt|requests?|messages?|conversation|text|context|body)\b[^.]{0,30} too (long|large|big)",
                r"(input|prompt|requests?|messages?)\b[^.]{0,30} too many tokens",
                r"too (long|many tokens)[^.]{0,30}(input|prompt|messages?|context|model)",
                r"(input|prompt|messages?|conversation|context|sequence|tokens?)\b[^.]{0,60}"
                r"(exceed|longer than|greater than|larger than|more than|over the|overflow)[^.]{0,60}"
                r"(context|limit|max|length|window|token|allowed|\d)",
                r"exceed[^.]{0,40}(context|token|length|sequence|n_ctx)",
                r"(prompt|input) (contains|has) [\d,]+ tokens",
                r"token(s)? limit exceeded",
                r"token count",
                r"trying to keep the first",
                r"max(imum)?[ _](input|prompt|sequence|model)[ _]?(len|token)",
                r"max_new_tokens\W? must be",
                r"range of input length",
                r"max_seq_len|max_model_len|num_ctx",
                r"上下文",
                r"(输入|提示词?|prompt|文本|内容)[^,。]{0,10}(过长|超长|超过|超出)",
            ),
        ),
        (
            ErrorKind.FILTERED,
            (
                r"content (management |usage |moderation )?(policy|policies|filter)",
                r"moderation",
                r"inappropriate",
                r"flagged",
                r"safety (system|filter|polic|setting|reason)",
                r"violat(es|ed|ing|ion)[^.]{0,40}(polic|usage|guideline|safety)",
                r"sensitive (content|information|word)",
                r"high risk",
                r"prohibited content",
                r"responsible ai",
                r"blocked by[^.]{0,30}(guardrail|filter)",
                r"content exists risk",
                r"敏感",
                r"违规",
                r"不安全",
            ),
        ),
        (
            ErrorKind.REGION,
            (
                r"country, region",
                r"(region|country|location|territory)[^.]{0,30}(not|isn't) (supported|available|allowed)",
            ),
        ),
        (
            ErrorKind.NO_CREDIT,
            (
                r"insufficient (account )?(balance|credit|fund)",
                r"balance[^.]{0,20}(insufficient|too low|not enough)",
                r"more credits",
                r"run out of credits",
                r"used all available credits",
                r"account is not active",
                r"account[^.]{0,60}is not active",
                r"billing (hard|is not)",
                r"payment (is )?required",
                r"(add|purchase|buy) (more )?credits",
                r"exceeded your monthly included credits",
                r"in arrears",
                r"overdue",
                r"credit balance",
                r"余额不足",
                r"欠费",
                r"充值",
            ),
        ),
        (
            ErrorKind.RATE,
            (
                r"rate.?limit",
                r"too many requests",
                r"(requests|queries|tokens) per (min|second|day|hour)",
                r"retry (in|after)",
                r"try again in",
                r"throttl",
                r"per.?minute",
                r"resource (has been )?exhausted",
                r"concurren(t|cy)[^.]{0,20}(limit|exceed)",
                r"访问量过大",
                r"频率",
                r"速率限制",
            ),
        ),
        (
            ErrorKind.QUOTA,
            (
                r"quota",
                r"(usage|spending|monthly|daily|weekly|token) limit (is |has been )?(reached|exceeded|hit)",
                r"额度",
                r"配额",
            ),
        ),
        (
            ErrorKind.KEY,
            (
                r"(invalid|incorrect|wrong|missing|expired|bad|no)[ _-](x-)?((api|auth)[ _-]?)?(key|credential)s?\b",
                r"(invalid|incorrect|wrong|missing|expired|bad|no)[ _-](api|auth|access)[ _-]?token\b",
                r"api.?key[^.]{0,40}(invalid|incorrect|required|missing|expired|not valid|not found|disabled|revoked)",
                r"unauthori[sz]ed",
                r"authentication",
                r"无效的?(令牌|api)",
            ),
        ),
        (
            ErrorKind.NO_MODEL,
            (
                r"model[^.]{0,20}\b(\S{1,100} )?(does not|doesn't|not) exist",
                r"model\b.{0,120}(not found|not available|no longer|decommissioned|deprecated|not a valid|is invalid)",
                r"model\b.{0,120}(not loaded|not supported|not deployed|unavailable)",
                r"no (such|available|endpoints?)[^.]{0,20}(model|channel|found for)",
                r"(unknown|invalid|unsupported|not a valid) model",
                r"模型不存在",
                r"无可用渠道",
            ),
        ),
        (
            ErrorKind.LOADING,
            (
                r"loading",
                r"being loaded",
                r"warming up",
                r"starting up",
                r"still initiali[sz]ing",
                r"cold start",
            ),
        ),
        (
            ErrorKind.OVERLOADED,
            (
                r"overloaded",
                r"too busy",
                r"(at|over|no|insufficient|exceeded) capacity",
                r"high (demand|load|traffic)",
                r"temporarily unavailable",
                r"服务器?繁忙",
                r"系统繁忙",
            ),
        ),
        (
            ErrorKind.PERMISSION,
            (
                r"permission",
                r"not allowed",
                r"forbidden",
                r"access denied",
                r"not authori[sz]ed",
                r"do not have access",
            ),
        ),
    )
)

STATUSES: Final[dict[ErrorKind, frozenset[int | None]]] = {
    ErrorKind.MAX_TOKENS: frozenset({None, 400, 413, 422}),
    ErrorKind.TOO_LONG: frozenset({None, 400, 413, 422, 500}),
    ErrorKind.LOADING: frozenset({None, 425, 503}),
    ErrorKind.KEY: frozenset({None, 400, 401, 403}),
    ErrorKind.PERMISSION: frozenset({401, 403}),
    ErrorKind.RATE: frozenset({None, 429, 500, 503}),
    ErrorKind.NO_MODEL: frozenset({None, 400, 403, 404, 410, 422, 500, 503}),
}
"""Of errors by their words; others go with any status."""
