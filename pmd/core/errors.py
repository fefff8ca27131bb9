"""The one exception that is meant for the person at the keyboard.

Scripts print its message on one line and exit with status 2; a traceback of it is a bug.
"""


class PmdError(ValueError):
    """Input that cannot be used. The message says what, where, and how to mend it, on one line."""
