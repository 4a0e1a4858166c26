"""A process that runs the Python blocks of one page, one after the other, in one namespace.

It reads a JSON object a line, `{"where", "line", "source"}`, and answers each with `{"out", "error"}`. A process of its
own, because a page opens control planes, starts threads and imports modules of the user.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback


def main() -> None:
    """Run until there are no blocks any more."""
    sys.path.insert(0, "")
    answers = sys.stdout
    namespace = {"__name__": "__main__"}
    for line in sys.stdin:
        block = json.loads(line)
        error = ""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            try:
                source = "\n" * (block["line"] - 1) + block["source"]
                exec(compile(source, block["where"], "exec"), namespace)
            except BaseException:
                error = traceback.format_exc()
        answers.write(json.dumps({"out": out.getvalue(), "error": error}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
