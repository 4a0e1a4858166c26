"""The database of a page: it is made for the page, keeps its ledger, and runs its blocks of SQL as psql would."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from tests.conformance.postgres_server import USER, PostgresServer
from tests.docs.pages import Block

_NAMES = count()
#: A statement of a block ends with a semicolon at the end of a line.
_END = re.compile(r";[ \t]*$", re.MULTILINE)
#: On a page, what the last answer had in a column, written as psql writes variables.
_VARIABLE = re.compile(r"(?<!:):(?P<name>[a-z]+)\b")


class PageDatabase:
    """A database of its own on the server of the tests."""

    def __init__(self, server: PostgresServer) -> None:
        """Make it; `ledger` is its address, which `environment` lets a process use."""
        self._server = server
        self._name = f"page{next(_NAMES)}"
        self._answers: dict[str, Any] = {}
        server.sql(f"CREATE DATABASE {self._name}")
        self._connection = server.connect(self._name)
        self.ledger = f"postgresql://{USER}@127.0.0.1:{server.port}/{self._name}"
        self.environment = {"PGPASSFILE": str(server.passfile)}

    def run(self, block: Block) -> str:
        """Run the statements of a block in order; return what the last one answered, in the form of psql."""
        shown = ""
        statements = [statement for statement in _END.split(block.text) if statement.strip()]
        assert statements, f"{block.where}: a block of SQL ends each statement with a semicolon"
        for statement in statements:
            cursor = self._connection.execute(_VARIABLE.sub(lambda found: self._value(found["name"], block), statement))
            if cursor.description:
                names = [column.name for column in cursor.description]
                rows = cursor.fetchall()
                self._answers.update(zip(names, rows[-1], strict=True) if rows else ())
                shown = "\n".join(
                    " | ".join(cells) for cells in [names, *([_shown(cell) for cell in row] for row in rows)]
                )
        return shown

    def close(self) -> None:
        """Drop it."""
        self._connection.close()
        self._server.sql(f"DROP DATABASE {self._name} WITH (FORCE)")

    def _value(self, name: str, block: Block) -> str:
        assert name in self._answers, f"{block.where}: nothing has answered a column {name} yet"
        return _shown(self._answers[name])


def _shown(cell: Any) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return "t" if cell else "f"
        case list():
            return "{" + ",".join(_shown(one) for one in cell) + "}"
        case _:
            return str(cell)
