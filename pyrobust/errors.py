"""The one exception whose message is meant for the user."""


class UserError(Exception):
    """A mistake that the user can mend.

    The message is one sentence that names the value, what was expected and, where there is one,
    the command that mends it. The command line prints it and exits with status 2; nothing has
    been written by then.
    """
