"""Alerts posted to an address, signed, so that the receiver knows who sent them and when."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime

from undrift.adapters.posting import host_of, post
from undrift.domain.telling import Telling
from undrift.errors import BadConfig


class WebhookNotifier:
    """A POST of Alertmanager's payload, with `X-Undrift-Timestamp` and `X-Undrift-Signature: sha256=…`.

    The signature is the HMAC-SHA256 of `TIMESTAMP.BODY` with the secret, in hexadecimal digits.
    """

    again_s = None
    hears_acknowledged = False

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
        self.name = f"webhook {host_of(url, 'webhook')}"
        if not secret:
            raise BadConfig(
                "the webhook of [notices] has no secret to sign with",
                "a receiver could not tell our alerts from anybody's",
                "set secret_env or secret_file in [notices]",
            )
        self._url, self._secret = url, secret.encode()
        self._now, self._sleep, self._timeout_s = now, sleep, timeout_s

    def send(self, telling: Telling) -> None:
        """Post it."""
        body = json.dumps(telling.as_webhook()).encode()

        def headers() -> dict[str, str]:
            timestamp = str(int(self._now().timestamp()))
            signed = signature(self._secret, timestamp, body)
            return {"X-Undrift-Timestamp": timestamp, "X-Undrift-Signature": f"sha256={signed}"}

        post(self._url, body, headers, name=self.name, sleep=self._sleep, timeout_s=self._timeout_s)


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the signature of a body that is sent at a time."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
