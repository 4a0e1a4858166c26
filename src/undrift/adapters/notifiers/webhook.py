"""Alerts posted to an address, signed, so that the receiver knows who sent them and when."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from undrift.domain.alert import Alert
from undrift.errors import BadConfig, NotifierUnavailable

#: Times that an alert is posted before it is left for the next time, and the pause between two, in seconds.
_ATTEMPTS = 3
_PAUSE_S = 1.0


class WebhookNotifier:
    """A POST of JSON with `X-Undrift-Timestamp` and `X-Undrift-Signature: sha256=…`.

    The signature is the HMAC-SHA256 of `TIMESTAMP.BODY` with the secret, in hexadecimal digits.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        timeout_s: float = 10.0,
    ) -> None:
        """Remember where to post to.

        Args:
            url: the address.
            secret: what both sides know.
            now: the time.
            sleep: waits between two attempts.
            timeout_s: longest wait for an answer.

        Raises:
            BadConfig: there is no secret, or the address is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadConfig("the webhook of [notices] is no address", hint="write it as https://HOST/PATH")
        if not secret:
            raise BadConfig(
                "the webhook of [notices] has no secret to sign with",
                "a receiver could not tell our alerts from anybody's",
                "set secret_env or secret_file in [notices]",
            )
        self._url, self._secret = url, secret.encode()
        self._now, self._sleep, self._timeout_s = now, sleep, timeout_s
        self.name = f"webhook {parts.hostname}"

    def send(self, alert: Alert) -> None:
        """Post it; any answer of success will do."""
        body = json.dumps({"id": alert.id, "at": self._now().isoformat(), **alert.as_dict()}).encode()
        said = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_PAUSE_S * 2 ** (attempt - 1))
            said = self._post(body)
            if not said:
                return
        raise NotifierUnavailable(f"the {self.name} did not take an alert", said)

    def _post(self, body: bytes) -> str:
        """Return what went wrong; empty when nothing did."""
        import httpx2

        timestamp = str(int(self._now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "X-Undrift-Timestamp": timestamp,
            "X-Undrift-Signature": f"sha256={signature(self._secret, timestamp, body)}",
        }
        try:
            answer = httpx2.post(self._url, content=body, headers=headers, timeout=self._timeout_s)
        except httpx2.HTTPError as error:
            return type(error).__name__
        return "" if answer.is_success else f"HTTP {answer.status_code}"


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the signature of a body that is sent at a time."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
