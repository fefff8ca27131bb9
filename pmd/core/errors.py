"""The one exception that is meant for the user.

Commands print its message on one line and exit with status 2; if a user sees a traceback of it, that is a bug.
"""


class PmdError(ValueError):
    """Input that cannot be used. The message says, on one line, what is wrong, where, and how to correct it."""
