"""Which of several aliases answers a query: the one of its domain, and never more than one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from undrift.domain.route import AliasName
from undrift.errors import BadArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Domains:
    """A name under which aliases stand, each for the queries of its domains.

    Attributes:
        name: the name.
        aliases: the alias of each domain.
        fallback: the alias of every other query; None when such a query is refused.
    """

    name: str
    aliases: Mapping[str, AliasName]
    fallback: AliasName | None = None

    def alias_of(self, domain: str | None) -> AliasName:
        """Return the alias that answers the queries of a domain; None is a query whose domain nobody knows.

        Raises:
            BadArgument: there is no such domain, and no fallback is declared.
        """
        found = self.aliases.get(domain, self.fallback) if domain is not None else self.fallback
        if found is None:
            what = f"no domain {domain!r}" if domain is not None else "no answer for a query without a domain"
            raise BadArgument(
                f"{self.name} has {what}, and no fallback is declared",
                f"its domains are: {', '.join(sorted(self.aliases))}",
                f'name one of them, or declare the fallback in [domains.{self.name}]: fallback = "ALIAS"',
            )
        return found
