"""Errors meant for people: one line that says what to do."""


class UserError(Exception):
    """Bad usage or bad input. The command line prints the message as one line and exits with code 2."""
