"""From what a configuration says of a model to what its space says: nothing that changes a vector is left unsaid."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from undrift.adapters.embedders.http.known import Known
from undrift.adapters.embedders.http.profiles import Place, Profile
from undrift.errors import BadArgument

_GIVEN = "give it as the documentation of the model says"
#: Parts of a path that nobody needs to escape.
_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")


def own_options(provider: str, profile: Profile, **given: str | None) -> Place:
    """Return the options that only some providers take.

    Raises:
        BadArgument: one was given to a provider that does not take it, or one that is needed was not.
    """
    for option, value in given.items():
        if value is not None and option not in profile.takes:
            raise BadArgument(
                f"provider {provider} has no {option}",
                f"it takes of its own: {', '.join(sorted(profile.takes)) or 'nothing'}",
            )
    place = Place(
        encoding=given["encoding_format"] or "",
        deployment=given["deployment"] or "",
        api_version=given["api_version"] or "",
        region=given["region"] or "",
        project=given["project"] or "",
    )
    for option in ("region", "project"):
        value = getattr(place, option)
        if option in profile.takes and not _PLAIN.fullmatch(value):
            raise BadArgument(
                f"provider {provider} needs a {option}", f"it is {value!r}", f"set {option} for the model"
            )
    return place


def address(name: str, base_url: str | None, profile: Profile, place: Place) -> SplitResult:
    """Return where a model is, up to what every request of its dialect has in common.

    Raises:
        BadArgument: nobody said, or it is no address.
    """
    if base_url is None and not profile.base_url:
        raise BadArgument(f"nobody says where model {name} is", hint="set base_url, such as http://localhost:8080")
    known = profile.base_url.format(region=place.region) if profile.base_url else ""
    if place.region == "global":
        known = known.replace("global-", "")
    url = urlsplit((base_url or known).rstrip("/"))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise BadArgument(f"the base_url of model {name} is no http address", hint="such as http://localhost:8080/v1")
    if not url.path:
        return url._replace(path=profile.version)
    # People copy Azure's address with or without what belongs to the dialect.
    return url if profile.version else url._replace(path=url.path.removesuffix("/openai/v1").removesuffix("/openai"))


def dimensions(
    name: str, asked: int | None, native: int | None, known: Known | None, profile: Profile
) -> tuple[int, int]:
    """Return the length of the vectors, and of those that they are cut from.

    Raises:
        BadArgument: nobody knows it, or the model has none of that length.
    """
    native = native or (known.native if known else asked)
    if native is None:
        raise BadArgument(
            f"the dimensions of model {name} are not known",
            "a space has its name before the first request, so the server is not asked",
            "set dimensions for the model, as its documentation says",
        )
    known = known if known is not None and known.native == native else None
    length = asked or (known.usual if known else native)
    if known is not None and not known.gives(length):
        raise BadArgument(f"model {name} has no vectors of {length} dimensions", _sizes(known))
    if not 1 <= length <= native or (length < native and not profile.can_cut):
        raise BadArgument(f"model {name} has vectors of {native} dimensions and cannot give {length}")
    return length, native


def tasks(
    name: str, document_task: str | None, query_task: str | None, known: Known | None, profile: Profile
) -> tuple[str, str]:
    """Return what the model is told that a document is, and a query.

    Raises:
        BadArgument: it wants to know and was not told, or it would not listen.
    """
    usual = profile.tasks if known is None or known.has_tasks else ("", "")
    told = (
        usual[0] if document_task is None else document_task,
        usual[1] if query_task is None else query_task,
    )
    if any(told) and known is not None and not known.has_tasks:
        raise BadArgument(
            f"model {name} does not listen to a task", "it would be ignored without a word", "use prefixes instead"
        )
    if profile.wants_tasks and not all(told):
        raise BadArgument(f"model {name} wants a document_task and a query_task", hint=_GIVEN)
    return told


def normalized(name: str, *, asked: bool | None, length: int, known: Known | None) -> bool:
    """Return whether vectors have length 1.

    Raises:
        BadArgument: they are said to, and it is known that they do not.
    """
    is_so = known is None or known.is_normalized(length)
    if asked and not is_so:
        raise BadArgument(
            f"model {name} does not give vectors of length 1 with {length} dimensions",
            f"as read in {known.source}" if known else "",
            "leave normalized out; searches by cosine are the same either way",
        )
    return is_so if asked is None else asked


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    address = _ip(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def is_local(host: str) -> bool:
    """Whether a host is on this machine or its private network, where nobody sends a bill."""
    address = _ip(host)
    if address is not None:
        return address.is_private
    return "." not in host or host.endswith((".localhost", ".local", ".internal", ".lan"))


def _sizes(known: Known) -> str:
    if known.sizes is None:
        return f"it has any up to {known.native}, as read in {known.source}"
    sizes = sorted({*known.sizes, known.usual})
    return f"it has {', '.join(map(str, sizes))}, as read in {known.source}"


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
