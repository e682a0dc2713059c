"""Errors of many providers, as public threads quote them: the same kind as an HTTP response and inside of a stream."""

import json

import pytest

from chatapp.domain.errors import Blocked, CannotSee, ContextTooLong, RateLimited
from chatapp.models.openai.error_response import error_in_stream, error_of_response
from chatapp.models.openai.errors import ServerErrors

ERRORS = ServerErrors("Gemma", "http://gemma", True, "URL", "KEY", "MODEL")
TOO_LONG, NO_IMAGES, FILTERED = "too long", "no images", "filtered"
NO_CREDIT, QUOTA, RATE, KEY = "no credit", "quota", "rate", "key"
REGION, NO_MODEL, OVERLOADED, MAX_TOKENS = "region", "no model", "overloaded", "max tokens"

REASONS = {
    NO_CREDIT: "no credit left",
    QUOTA: "the quota of the account",
    RATE: "too many requests",
    KEY: "rejects the key",
    REGION: "region",
    NO_MODEL: "has no model named",
    OVERLOADED: "overloaded",
    MAX_TOKENS: "cannot write as many tokens",
    FILTERED: "safety filter",
}
KINDS = {TOO_LONG: ContextTooLong, NO_IMAGES: CannotSee, FILTERED: Blocked, QUOTA: RateLimited, RATE: RateLimited}


def openai(message, kind="invalid_request_error", code=None, param=None):
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic(kind, message):
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


QUOTA_WORDS = "You exceeded your current quota, please check your plan and billing details."
TPM = (
    "Request too large for model `llama-3.1-8b-instant` in organization `org_1` service tier `on_demand` on tokens per "
    "minute (TPM): Limit 6000, Requested 12328, please reduce your message size and try again."
)
AZURE = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify "
    "your prompt and retry."
)
LM_STUDIO = (
    "Trying to keep the first 14538 tokens when context the overflows. However, the model is loaded with context "
    "length of only 2048 tokens, which is not enough."
)
GEMINI_COUNT = "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."
EXHAUSTED = json.dumps(
    {"error": {"code": 429, "message": "Resource has been exhausted.", "status": "RESOURCE_EXHAUSTED"}}
)
NO_CHANNEL = "当前分组 default 下对于模型 gpt-4o-mini 无可用渠道 (request id: 1)"

# (where it is from, HTTP status, body, kind)
SHAPES = [
    # too long
    (
        "OpenAI, xtekky/gpt4free#137",
        400,
        openai(
            "This model's maximum context length is 4097 tokens. However, your messages resulted in 4301 tokens.",
            code="context_length_exceeded",
            param="messages",
        ),
        TOO_LONG,
    ),
    (
        "OpenRouter, openrouter-examples#10",
        400,
        openai(
            "This model's maximum context length is 8192 tokens, however you requested 8977 tokens (8977 in your "
            "prompt; 0 for the completion). Please reduce your prompt; or completion length."
        ),
        TOO_LONG,
    ),
    (
        "Groq, OpenHands#1902",
        400,
        openai("Please reduce the length of the messages or completion.", code="context_length_exceeded"),
        TOO_LONG,
    ),
    ("Groq, ha-groq-cloud-api#27", 413, openai(TPM, "tokens", "rate_limit_exceeded"), TOO_LONG),
    (
        "OpenAI, vanna-flask#11",
        429,
        openai(
            "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 342389. The input or output "
            "tokens must be reduced in order to run successfully.",
            "tokens",
            "rate_limit_exceeded",
        ),
        TOO_LONG,
    ),
    (
        "Anthropic, claude-code#12186",
        400,
        anthropic("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
        TOO_LONG,
    ),
    (
        "Anthropic, continue#8454",
        400,
        anthropic(
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 143653 + 64000 > 200000, decrease input length",
        ),
        TOO_LONG,
    ),
    (
        "Moonshot, kimi-cli#2011",
        400,
        openai("Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)"),
        TOO_LONG,
    ),
    (
        "Moonshot, MoonshotAI-Cookbook#18",
        400,
        {"error": {"message": "model max length exceeded, max length:8192", "type": "invalid_request_error"}},
        TOO_LONG,
    ),
    (
        "GitHub Models, tsc-meetings#593",
        413,
        {
            "error": {
                "code": "tokens_limit_reached",
                "message": "Request body too large for gpt-4o. Max size: 8000 tokens.",
            }
        },
        TOO_LONG,
    ),
    (
        "Gemini, gemini-cli#6678",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": GEMINI_COUNT,
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        TOO_LONG,
    ),
    (
        "TGI, chat-ui#340",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 1512. Given: 1000 `inputs` "
            "tokens and 1024 `max_new_tokens`",
            "error_type": "validation",
        },
        TOO_LONG,
    ),
    ("LM Studio, lmstudio-bug-tracker#546", 400, {"error": LM_STUDIO}, TOO_LONG),
    ("LM Studio, dyad#925", 400, {"error": {"message": LM_STUDIO}, "message": LM_STUDIO}, TOO_LONG),
    # no pictures
    (
        "OpenAI, vllm#11629",
        400,
        openai(
            "Invalid content type. image_url is only supported by certain models.",
            param="messages.[0].content.[1].type",
        ),
        NO_IMAGES,
    ),
    ("Ollama, ollama#17301", 400, openai("this model does not support image input (ref: b8bd630e)"), NO_IMAGES),
    (
        "OpenRouter, goose#5396",
        404,
        {"error": {"message": "No endpoints found that support image input", "code": 404}},
        NO_IMAGES,
    ),
    (
        "MiMo, oai-compatible-copilot#229",
        404,
        {"error": {"code": "404", "message": "No endpoints found that support image input", "param": "", "type": ""}},
        NO_IMAGES,
    ),
    (
        "DeepSeek, jcode#310",
        400,
        openai(
            "Failed to deserialize the JSON body into the target type: messages[7]: unknown variant `image_url`, "
            "expected `text` at line 1 column 114708",
            code="invalid_request_error",
        ),
        NO_IMAGES,
    ),
    (
        "DeepSeek, browser-use#159",
        422,
        "Failed to deserialize the JSON body into the target type: messages[2]: data did not match any variant of "
        "untagged enum ChatCompletionRequestContent at line 1 column 15700",
        NO_IMAGES,
    ),
    (
        "DeepSeek, chatbox#1740",
        422,
        "Failed to deserialize the JSON body into the target type: messages[2]: invalid type: sequence, expected a "
        "string at line 1 column 2901",
        NO_IMAGES,
    ),
    ("Groq, vercel/ai#2837", 400, openai("messages[0].content must be a string"), NO_IMAGES),
    (
        "Tinker, tinker-feedback#83",
        422,
        {
            "detail": "Validation Error",
            "errors": [{"loc": "body -> messages -> 0 -> content -> list[TextContentPart] -> 0 -> type"}],
        },
        None,
    ),
    (
        "LM Studio, lmstudio-bug-tracker#362",
        400,
        {"error": "Model does not support images. Please use a model that does."},
        NO_IMAGES,
    ),
    # filtered
    (
        "Azure, compl-ai#20",
        400,
        {
            "error": {
                "message": AZURE,
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {}}},
            }
        },
        FILTERED,
    ),
    (
        "LiteLLM over Azure, litellm#16231",
        400,
        openai(f"litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException - {AZURE}", None, "400"),
        FILTERED,
    ),
    (
        "Azure through Argo, argo-proxy#91",
        400,
        {"error": {"message": f"Error code: 400 - {{'error': '{AZURE}'}}"}},
        FILTERED,
    ),
    (
        "DashScope, owl#432",
        400,
        openai("Input data may contain inappropriate content.", "data_inspection_failed", "data_inspection_failed"),
        FILTERED,
    ),
    (
        "DashScope, qwen-code#2905",
        400,
        openai("<400> InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content."),
        FILTERED,
    ),
    (
        "MiMo, MiMo-V2-Flash#18",
        400,
        {
            "error": {
                "code": "421",
                "message": "Moderation Block",
                "param": "The request was rejected because it was considered high risk",
                "type": "content_filter",
            }
        },
        FILTERED,
    ),
    (
        "OpenRouter, its documentation of moderation errors",
        403,
        {
            "error": {
                "code": 403,
                "message": "Your chosen model requires moderation and your input was flagged",
                "metadata": {"reasons": ["violence"], "flagged_input": "...", "provider_name": "OpenAI"},
            }
        },
        FILTERED,
    ),
    # no credit
    (
        "OpenAI, litellm#2743",
        429,
        openai(
            "Your account is not active, please check your billing details.", "billing_not_active", "billing_not_active"
        ),
        NO_CREDIT,
    ),
    ("DeepSeek, aider#4851", 402, openai("Insufficient Balance", "unknown_error", "invalid_request_error"), NO_CREDIT),
    (
        "OpenRouter, openclaude#43",
        402,
        {"error": {"message": "Insufficient credits. This account never purchased credits.", "code": 402}},
        NO_CREDIT,
    ),
    (
        "OpenRouter, forgecode#571",
        402,
        {"error": {"error": {"message": "More credits are required to run this request.", "code": 402}, "code": 402}},
        NO_CREDIT,
    ),
    (
        "OpenRouter, Agora#8",
        402,
        {
            "error": {
                "message": "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, "
                "but can only afford 3395.",
                "code": 402,
                "metadata": {"provider_name": None, "previous_errors": [{"code": 402, "message": "..."}]},
            }
        },
        NO_CREDIT,
    ),
    (
        "Anthropic, claude-code#66297",
        400,
        anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
        NO_CREDIT,
    ),
    (
        "Moonshot, Kimi-K2#5",
        403,
        {
            "error": {
                "message": "Your account xx is not active, organization xx exceeded current quota, please check it",
                "type": "exceeded_current_quota_error",
            }
        },
        NO_CREDIT,
    ),
    ("Zhipu, dify#5850", 429, {"error": {"code": "1113", "message": "您的账户已欠费，请充值后重试。"}}, NO_CREDIT),
    (
        "Zhipu, GLM-5#148",
        429,
        {"error": {"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."}},
        NO_CREDIT,
    ),
    (
        "SiliconFlow, OpenManus#438",
        403,
        {
            "code": 30011,
            "message": "The selected model requires paid balance. Your paid balance is insufficient.",
            "data": None,
        },
        NO_CREDIT,
    ),
    (
        "OpenCode, OpenCode2API#5",
        401,
        {
            "error": {
                "message": "Insufficient balance. Manage your billing here",
                "type": "CreditsError",
                "param": "",
                "code": None,
            }
        },
        NO_CREDIT,
    ),
    (
        "xAI, continue#10373",
        429,
        "Your team 16f2 has either used all available credits or reached its monthly spending limit.",
        NO_CREDIT,
    ),
    (
        "xAI, sub2api#4069",
        403,
        {"code": "x", "error": "You have run out of credits or need a Grok subscription."},
        NO_CREDIT,
    ),
    # quota
    ("OpenAI, NextChat#3123", 429, openai(QUOTA_WORDS, "insufficient_quota", "insufficient_quota"), QUOTA),
    ("OpenAI, chatgpt-dingtalk#35", 429, openai(QUOTA_WORDS, "insufficient_quota"), QUOTA),
    (
        "one-api, free_chatgpt_api#26",
        403,
        openai(
            "user quota is not enough (request id: 2024081922011112714735330169131)",
            "v_api_error",
            "insufficient_user_quota",
        ),
        QUOTA,
    ),
    # rate
    (
        "Gemini through a gateway, continue#10560",
        429,
        {"error": {"message": EXHAUSTED, "code": 429, "status": "Too Many Requests"}},
        RATE,
    ),
    (
        "Together, MoA#27",
        429,
        openai("You have been rate limited. Your rate limit is 60 queries per minute.", "credit_limit"),
        RATE,
    ),
    (
        "Groq, eliza#4040",
        429,
        openai(
            "Rate limit reached for model `llama-3.1-8b-instant` on tokens per minute (TPM): Limit 6000, Used 5034, "
            "Requested 1443. Please try again in 4.77s.",
            "tokens",
            "rate_limit_exceeded",
        ),
        RATE,
    ),
    # key and region
    ("OpenAI, litellm#7368", 401, openai("Incorrect API key provided: sk-1.", code="invalid_api_key"), KEY),
    ("vLLM", 401, {"error": "Unauthorized"}, KEY),
    (
        "OpenAI, one-api#1692",
        403,
        openai(
            "Country, region, or territory not supported", "request_forbidden", "unsupported_country_region_territory"
        ),
        REGION,
    ),
    (
        "OpenAI, continue#11449",
        403,
        {"code": "unsupported_country_region_territory", "message": "Country, region, or territory not supported"},
        REGION,
    ),
    # model
    (
        "OpenAI, aider#2030",
        404,
        openai("The model `gpt-4o-2024-08-06` does not exist or you do not have access to it.", code="model_not_found"),
        NO_MODEL,
    ),
    ("OpenAI, node-chatgpt-api#49", 404, openai("That model does not exist"), NO_MODEL),
    (
        "SiliconFlow, Any-code#1",
        400,
        {"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None},
        NO_MODEL,
    ),
    ("one-api, free_chatgpt_api#110", 503, {"error": {"message": NO_CHANNEL, "type": "v_api_error"}}, NO_MODEL),
    # overloaded
    ("Anthropic, anthropic-sdk-typescript#616", 529, anthropic("overloaded_error", "Overloaded"), OVERLOADED),
    ("Anthropic, claude-code#8118", 500, anthropic("api_error", "Overloaded"), OVERLOADED),
    (
        "Moonshot, MoonshotAI-Cookbook#16",
        429,
        openai("The engine is currently overloaded, please try again later", "engine_overloaded_error"),
        OVERLOADED,
    ),
    # an answer longer than the model can write
    (
        "OpenAI, code-gpt-docs#284",
        400,
        openai(
            "max_tokens is too large: 6000. This model supports at most 4096 completion tokens, whereas you sent 6000.",
            param="max_tokens",
        ),
        MAX_TOKENS,
    ),
    (
        "Groq, Roo-Code#5729",
        400,
        openai(
            "`max_tokens` must be less than or equal to `16384`, the maximum value for `max_tokens` is less than the "
            "`context_window` for this model"
        ),
        MAX_TOKENS,
    ),
]
IN_STREAM = [shape for shape in SHAPES if shape[3]]


def check(failure, kind):
    if kind in KINDS:
        assert failure.kind is KINDS[kind], (failure.kind, failure.reason, failure.detail)
    if kind in REASONS:
        assert REASONS[kind] in failure.reason, (failure.reason, failure.detail)


@pytest.mark.parametrize(("source", "status", "body", "kind"), SHAPES, ids=[shape[0] for shape in SHAPES])
def test_error_response_has_the_kind_that_it_means(source, status, body, kind):
    check(error_of_response(ERRORS, status, body, {}), kind)


@pytest.mark.parametrize(("source", "status", "body", "kind"), IN_STREAM, ids=[shape[0] for shape in IN_STREAM])
def test_same_error_inside_of_a_stream_has_the_same_kind(source, status, body, kind):
    check(error_in_stream(ERRORS, body, started=False), kind)
    started = error_in_stream(ERRORS, body, started=True)
    check(started, kind)
    if kind is not NO_IMAGES:
        assert "stopped in the middle of the answer" in str(started.as_model_error())


def test_table_has_forty_shapes_of_twelve_providers():
    assert len(SHAPES) >= 40
    assert len({source.partition(",")[0] for source, *_ in SHAPES}) >= 12


@pytest.mark.parametrize(
    ("words", "prompt", "context"),
    [
        (LM_STUDIO, 14538, 2048),
        ("prompt is too long: 208310 tokens > 200000 maximum", 208310, 200000),
        ("Your request exceeded model token limit: 262144 (requested: 269030)", 269030, 262144),
        ("maximum context length is 8192 tokens, however you requested 8977 tokens (8900 in your prompt)", 8900, 8192),
        ("maximum context length is 4,097 tokens. However, your messages resulted in 4,301 tokens.", 4301, 4097),
        ("exceed context limit: 143653 + 64000 > 200000, decrease input length", 143653, 200000),
        (GEMINI_COUNT, 1200293, 1048576),
        (TPM, None, 6000),
        ("This prompt is too long.", None, None),
    ],
)
def test_numbers_of_tokens_are_read_from_the_words(words, prompt, context):
    failure = error_of_response(ERRORS, 400, {"error": words}, {})
    assert (failure.prompt_tokens, failure.context_tokens) == (prompt, context)


@pytest.mark.parametrize("code", ["429", 429, "rate_limit_exceeded", "RateLimitReached", "too_many_requests"])
@pytest.mark.parametrize("nest", [0, 1, 2])
def test_code_may_be_a_number_a_word_or_nested(code, nest):
    body = {"message": "No.", "code": code}
    for _ in range(nest):
        body = {"error": body}
    check(error_in_stream(ERRORS, body, started=False), RATE)


@pytest.mark.parametrize(
    "words", ["", "Something broke.", "Internal server error", "Invalid image format", "oops: 500"]
)
def test_error_that_says_nothing_more_is_a_failure(words):
    for body in (words, {"error": words}, {"error": {"message": words}}):
        failure = error_in_stream(ERRORS, body, started=False)
        assert "reports a failure" in failure.reason
        assert failure.error is None


def test_words_of_the_server_are_not_shown_or_logged():
    secret = "the question of a person"
    for status in (400, 403, 404, 413, 429, 500):
        failure = error_of_response(ERRORS, status, openai(secret, secret, secret, secret), {})
        assert secret not in f"{failure.as_model_error()} {failure.detail}"
