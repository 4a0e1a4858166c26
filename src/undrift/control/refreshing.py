"""The verb `catalogue refresh`: reads feeds and the providers' own lists of models, and keeps what is new in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

from undrift.adapters.embedders.http.profiles import PROFILES
from undrift.adapters.feeds import table, web
from undrift.adapters.feeds.deprecations import deprecations, is_deprecations
from undrift.adapters.feeds.provider_models import LISTS, address_of, listed
from undrift.config import ModelSettings
from undrift.control.outlook import Outlook
from undrift.domain.catalogue import MANY, Catalogue, Fact, channel_of
from undrift.errors import FeedUnavailable, UndriftError


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One place that facts come from.

    Attributes:
        name: what it is called; no key is in it.
        read: returns its facts, and those configured models that it does not list.
    """

    name: str
    read: Callable[[], tuple[Sequence[Fact], list[str]]]


class Refreshing(Outlook):
    """Keep the catalogue up to date; nothing but this goes to the network for it."""

    def refresh_catalogue(self, sources: Sequence[str] = (), *, ask_providers: bool = True) -> dict[str, Any]:
        """Read every feed there is, and keep each observation that says something else than the last of its source.

        A feed that cannot be read is told and passed over; what others say is kept.

        Args:
            sources: files and addresses of tables of facts; the configured ones by default.
            ask_providers: whether the lists of models are read that the keys of configured models open.

        Returns:
            For each feed what it said that is new, which configured models it does not list, and what went wrong.

        Raises:
            BadConfig: the observations cannot be written.
        """
        today = self.clock.now().date()
        path = self.config.resolve(self.config.settings.observations)
        feeds = [self._table(source) for source in sources or self.config.settings.feeds]
        feeds += self._lists(today) if ask_providers else []
        shown = []
        for feed in feeds:
            told: dict[str, Any] = {"feed": feed.name, "new": [], "absent": [], "problem": None}
            try:
                facts, told["absent"] = feed.read()
                # Read anew for each feed: two of them may be of one source.
                fresh = list(_unheard(facts, self.plugins.catalogue()))
                table.append(path, fresh)
                told["new"] = [
                    {"model": str(fact.key), "attribute": fact.attribute.value, **fact.as_dict()} for fact in fresh
                ]
            except FeedUnavailable as error:
                told["problem"] = ": ".join(filter(None, (error.message, error.detail)))
            shown.append(told)
        return {
            "feeds": shown,
            "observations": str(path),
            "next_steps": ["undrift catalogue sunsets", "undrift catalogue notify"],
        }

    def _table(self, source: str) -> Feed:
        def read() -> tuple[Sequence[Fact], list[str]]:
            if source.startswith(("http://", "https://")):
                content = web.read(source)
                if is_deprecations(content):
                    known = set(self.plugins.catalogue().models())
                    return deprecations(content, source.partition("?")[0], knows=known.__contains__), []
                return table.read_facts(content.splitlines(), source), []
            path = self.config.resolve(source)
            if not path.exists():
                raise FeedUnavailable(f"there is no feed {source}")
            return table.from_file(path), []

        return Feed(name=source, read=read)

    def _lists(self, today: date) -> Iterator[Feed]:
        """Return the lists of models that the configured models' own keys open, each once."""
        wanted: dict[tuple[str, str, str], list[tuple[str, ModelSettings]]] = {}
        for name, settings in self.config.settings.models.items():
            try:
                space = self.model_door(name).space
            except UndriftError:
                # A model that cannot be set up is told by `doctor`; the others are asked all the same.
                continue
            channel, options = channel_of(space.channel), settings.options
            region = str(options.get("region") or "")
            url = address_of(channel, str(options.get("base_url") or ""), region)
            if url:
                wanted.setdefault((channel, url, region), []).append((space.model, settings))
        for (channel, url, region), models in wanted.items():
            read = partial(self._read_list, channel, url, region, models, today)
            yield Feed(name=url.partition("?")[0].removeprefix("https://"), read=read)

    def _read_list(
        self, channel: str, url: str, region: str, models: Sequence[tuple[str, ModelSettings]], today: date
    ) -> tuple[Sequence[Fact], list[str]]:
        known = {key.model for key in self.plugins.catalogue().models() if key.channel == channel}
        asked = {name for name, _ in models}
        settings = models[0][1]
        profile = PROFILES.get(settings.provider.replace("-", "_"))
        key = self.config.secret(settings, profile.key_variable if profile is not None else "")
        header = LISTS[channel].header
        headers = {} if not key else {header: key} if header else {"Authorization": f"Bearer {key}"}
        source = url.partition("?")[0].partition("://")[2]
        found = listed(
            web.read_json(url, headers),
            channel=channel,
            source=source,
            seen=today,
            region=region,
            of=lambda name: "embed" in name.lower() or name in known or name in asked,
        )
        return found.facts, sorted(asked - found.models)


def _unheard(facts: Iterable[Fact], catalogue: Catalogue) -> Iterator[Fact]:
    """Yield the observations that say something else than the last one of the same source, the oldest first."""
    heard: dict[Any, Fact] = {}
    for fact in sorted(facts, key=lambda fact: fact.seen):
        place = (fact.key, fact.attribute, fact.tier, fact.origin)
        history = catalogue.observed(fact.key, fact.attribute)
        said = [one for one in history if (one.origin, one.tier) == (fact.origin, fact.tier)]
        last = heard.get(place, said[-1] if said else None)
        is_past = last is not None and (fact.seen < last.seen or fact.attribute in MANY)
        if is_past and (fact.value, fact.precision, fact.seen) in [
            (one.value, one.precision, one.seen) for one in said
        ]:
            # A feed that keeps what it said before says nothing new with it, nor one that names several things.
            continue
        heard[place] = fact
        if last is None or (last.value, last.precision) != (fact.value, fact.precision):
            # The same day may be named again after another one: then it is told again.
            yield replace(fact, seen=max(fact.seen, last.seen) if last is not None else fact.seen)
