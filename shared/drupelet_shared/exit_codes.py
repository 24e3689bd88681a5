"""The exit codes of both programs, and the codes with which wrong usage and an interruption end."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONSTRAINT = 3
EXIT_STOPPED = 4
EXIT_INTERRUPTED = 130

# What a line on standard error ends with where no `DrupeletError` gives it a code.
USAGE_CODE = "wrong_usage"

EXIT_CODES = {
    EXIT_OK: "done",
    EXIT_FAILED: "refused or failed, or a check found something wrong",
    EXIT_USAGE: f"wrong usage; the error ends with [{USAGE_CODE}]",
    EXIT_INTERRUPTED: "interrupted by Ctrl-C",
}
