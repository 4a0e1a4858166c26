"""Who asks: keys that go into a header, signatures of AWS, and tokens of Google, none of which is ever shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from undrift.adapters.embedders.http.profiles import Access
from undrift.errors import BadArgument, EmbedderUnavailable, MissingExtra, ModelUnavailable

#: From the address and the content of a request to the headers that say who asks.
Signer = Callable[[str, bytes], dict[str, str]]
_CLOUD = "https://www.googleapis.com/auth/cloud-platform"
#: Longest wait for a token, in seconds.
_TIMEOUT_S = 30.0


def key_headers(model: str, access: Access, api_key: str | None, headers: Mapping[str, str]) -> dict[str, str]:
    """Return what is sent with every request.

    Raises:
        BadArgument: a key has a character that no key has.
    """
    for secret in (api_key or "", *headers.values()):
        if not (secret.isascii() and secret.isprintable()):
            raise BadArgument(
                f"the key of model {model} has a character that no key has",
                "a line break from a file, or a character that was pasted along",
                "write the key again, without anything around it",
            )
    if not api_key:
        return dict(headers)
    if access in (Access.API_KEY, Access.GOOGLE_KEY):
        return {access.value: api_key, **headers}
    return {"Authorization": f"Bearer {api_key}", **headers}


def signer(access: Access, *, api_key: str | None, region: str, model: str) -> Signer | None:
    """Return what signs each request, where a key in a header is not enough."""
    if api_key or access not in (Access.AWS, Access.GOOGLE_TOKEN):
        return None
    return _Aws(region, model) if access is Access.AWS else _Google(model)


class _Aws:
    """Signatures (version 4) with the credentials that AWS's own library finds on this machine."""

    def __init__(self, region: str, model: str) -> None:
        self._region, self._model = region, model
        self._lock = threading.Lock()
        self._credentials: Any = None

    def __call__(self, url: str, content: bytes) -> dict[str, str]:
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.exceptions import BotoCoreError
            from botocore.session import get_session
        except ImportError as error:
            raise MissingExtra(
                "botocore is not installed",
                "it finds AWS credentials and signs requests with them",
                "pip install 'undrift[bedrock]', or give a key of Bedrock's: export AWS_BEARER_TOKEN_BEDROCK=…",
            ) from error
        try:
            with self._lock:
                if self._credentials is None:
                    self._credentials = get_session().get_credentials()
                if self._credentials is None:
                    raise ModelUnavailable(
                        f"model {self._model} at bedrock needs credentials, and there are none on this machine",
                        hint="aws configure, or export AWS_BEARER_TOKEN_BEDROCK=…",
                    )
                # Credentials of a role are renewed here when they run out.
                frozen = self._credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise EmbedderUnavailable(f"no AWS credentials could be had for model {self._model}", str(error)) from error
        request = AWSRequest(method="POST", url=url, data=content, headers={"Content-Type": "application/json"})
        SigV4Auth(frozen, "bedrock", self._region).add_auth(request)
        return dict(request.headers.items())


class _Google:
    """Tokens from the credentials that Google's own library finds on this machine, renewed when they run out."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._credentials: Any = None

    def __call__(self, url: str, content: bytes) -> dict[str, str]:
        del url, content
        try:
            import google.auth
            from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
        except ImportError as error:
            raise MissingExtra(
                "google-auth is not installed",
                "it finds Google's credentials on this machine",
                "pip install 'undrift[vertex]', or export GOOGLE_ACCESS_TOKEN=$(gcloud auth print-access-token)",
            ) from error
        try:
            with self._lock:
                if self._credentials is None:
                    self._credentials, _ = google.auth.default(scopes=[_CLOUD])
                if not self._credentials.valid:
                    self._credentials.refresh(_Fetch())
                return {"Authorization": f"Bearer {self._credentials.token}"}
        except DefaultCredentialsError as error:
            raise ModelUnavailable(
                f"model {self._model} at vertex needs credentials, and there are none on this machine",
                str(error),
                "gcloud auth application-default login",
            ) from error
        except GoogleAuthError as error:
            raise EmbedderUnavailable(f"no token could be had for model {self._model}", str(error)) from error


class _Fetch:
    """How Google's library fetches a token: with our client, so that it needs no other one."""

    def __call__(
        self, url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **_: Any
    ) -> _Fetched:
        import httpx2
        from google.auth.exceptions import TransportError

        try:
            response = httpx2.request(method, url, content=body, headers=headers, timeout=timeout or _TIMEOUT_S)
        except httpx2.RequestError as error:
            raise TransportError(error) from error
        return _Fetched(status=response.status_code, headers=dict(response.headers), data=response.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fetched:
    status: int
    headers: dict[str, str]
    data: bytes
