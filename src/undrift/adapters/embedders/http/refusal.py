"""What a server means when it does not answer with vectors: try again later, never, or not with this text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from undrift.adapters.embedders.http.limits import retry_after
from undrift.errors import (
    EmbedderFailed,
    EmbedderRejected,
    EmbedderUnavailable,
    ModelRetired,
    ModelUnavailable,
    TextTooLong,
    UndriftError,
)

_TRY_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
#: What a server answers that has not even begun with a request.
_UNSERVED = frozenset({501, 503, 505, 529})
#: New accounts of AWS have quotas of nothing at all, which look like being too fast.
_QUOTA_HINT = (
    "look at the account's quotas for the model: one of 0 answers like this for ever (Service Quotas, bedrock)"
)
#: Longest part of a server's own words that is shown.
_MOST_WORDS = 500
#: Not every word of bills: Voyage says with them that accounts without a card go slowly.
_NO_MONEY = re.compile(
    r"insufficient[_ ](quota|credit|balance|funds)|exceeded your current quota|out of credit|credit balance"
    r"|billing[_ ](hard[_ ]limit|not active)|spend(ing)? limit",
    re.IGNORECASE,
)
#: The word of Google for every limit, those on the pace too; a delay in the body tells them apart.
_GOOGLES_LIMIT = "RESOURCE_EXHAUSTED"
_NO_ACCESS = re.compile(r"api[_ ]key[_ ](not valid|invalid)|invalid[_ ]api[_ ]key", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"model[_ ]not[_ ]found|invalid[_ ]model|unknown model|is not supported\. supported models|model .*does not exist"
    r"|deploymentnotfound|model .*not found|end of its life|don.t have access to the model|model identifier is invalid"
    r"|servicemodeldeprecated|marked by provider as legacy|model .* has been (deprecated|retired|decommissioned)",
    re.IGNORECASE,
)
_GONE = re.compile(
    r"deprecat|retired|decommission|shut ?down|end of its life|no longer (available|supported)"
    r"|marked by provider as legacy",
    re.IGNORECASE,
)
#: The request as a whole is too much, which is no single text's fault.
_TOO_MUCH = re.compile(
    r"per[_ ]request|batch size|too many (inputs|tokens overall)|in one batch|tokens per submitted batch|payload size"
    r"|total number of texts|llama_decode",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"maximum context length|maximum input length|context length exceeded|exceeds? (the )?(context|maximum)|too long"
    r"|must have less than \d+ tokens|larger than the max context|input length exceeds|too many (input )?tokens"
    r"|expected maxlength|model supports up to \d+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer without vectors.

    Attributes:
        error: what it means to the caller.
        may_change: whether the same request may succeed later.
        wait_s: how long the server asks to wait, in seconds; None when it does not say.
    """

    error: UndriftError
    may_change: bool
    wait_s: float | None = None


def refusal(status: int, headers: Mapping[str, str], content: bytes, *, model: str, host: str) -> Refusal:
    """Read an answer that is no success.

    Args:
        status: the HTTP status.
        headers: the answer's headers, by lower-case name.
        content: its body.
        model: the model asked for.
        host: the server's name, for the message.
    """
    code, words = _words(content, headers)
    text = f"{code} {words}"
    detail = f"HTTP {status}" + (f", {code}" if code else "") + (f": {words[:_MOST_WORDS]}" if words else "")
    wait_s = retry_after(headers, content)
    names_model = bool(_NO_MODEL.search(text))
    if (status in (401, 403) and not names_model) or (status == 400 and _NO_ACCESS.search(text)):
        return _never(
            ModelUnavailable(
                f"{host} does not accept the key for model {model}",
                detail,
                "check the key of the model: api_key_env (whoever runs has to be started again) or api_key_file in "
                "undrift.toml",
            )
        )
    if status in (404, 410) or (status in (400, 403) and names_model):
        return _never(_missing_model(text, detail, model=model, host=host, is_gone=status == 410))
    is_pace = code == _GOOGLES_LIMIT and wait_s is not None
    if status == 402 or (status == 429 and _NO_MONEY.search(text) and not is_pace):
        return _never(
            ModelUnavailable(
                f"the account at {host} may not spend more on model {model}",
                detail,
                "raise the account's limit at the provider, then: undrift resume ALIAS",
            )
        )
    may_change = status in _TRY_AGAIN and not (status == 500 and _TOO_MUCH.search(text))
    if headers.get("x-should-retry") != "false" and (may_change or headers.get("x-should-retry") == "true"):
        does = "limits the rate of" if status == 429 else "cannot serve"
        hint = _QUOTA_HINT if "throttling" in code.lower() else ""
        kind = EmbedderFailed if status == 500 else EmbedderUnavailable
        error = kind(f"{host} {does} model {model} at the moment", detail, hint)
        return Refusal(error=error, may_change=True, wait_s=wait_s)
    if 300 <= status < 400:
        target = headers.get("location", "elsewhere")
        return _never(
            EmbedderRejected(f"{host} sends model {model} to {target}", detail, "set base_url to the final address")
        )
    if status in (400, 413, 422) and _TOO_LONG.search(text) and not _TOO_MUCH.search(text):
        return _never(TextTooLong(f"a text is longer than model {model} at {host} takes", detail))
    return _never(EmbedderRejected(f"{host} refused a request for model {model}", detail))


def is_unbilled(status: int) -> bool:
    """Whether a request that was refused so has cost nothing; who answers 500 may stand before the one who bills."""
    return status < 500 or status in _UNSERVED


def _missing_model(text: str, detail: str, *, model: str, host: str, is_gone: bool) -> ModelUnavailable:
    if is_gone or _GONE.search(text):
        return ModelRetired(
            f"model {model} is retired at {host}",
            f"{detail}\nnothing is embedded with another model instead",
            f"undrift catalogue show {model} says what is known of it; "
            "migrate to a model that lives: undrift plan ALIAS --to MODEL",
        )
    return ModelUnavailable(
        f"{host} has no model {model}",
        f"{detail}\nthe name is wrong, the account may not use it, or it is retired; "
        "nothing is embedded with another model instead",
        f"check name and base_url of the model in undrift.toml, and: undrift catalogue show {model}",
    )


def _never(error: UndriftError) -> Refusal:
    return Refusal(error=error, may_change=False)


def _words(content: bytes, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return an error's code and message; providers have several forms, AWS a header, and proxies send HTML."""
    # AWS puts the address of a page behind the name.
    kind = headers.get("x-amzn-errortype", "").partition(":")[0]
    try:
        body = json.loads(content)
    except ValueError:
        return kind, " ".join(content.decode("utf-8", "replace").split())
    if isinstance(body, list) and body:
        body = body[0]
    found = body.get("error", body.get("detail", body)) if isinstance(body, dict) else body
    if isinstance(found, dict):
        code = kind or found.get("status") or found.get("code") or found.get("type") or found.get("error_type") or ""
        return str(code), str(found.get("message") or found.get("error") or found.get("Message") or found)
    return kind, str(found)
