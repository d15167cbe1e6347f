"""The one exception that a user is meant to see."""


class UserError(Exception):
    """A mistake the user can mend: one sentence naming the thing, the place and the way out.

    The command line prints it without a traceback and exits with code 2. Anything else that goes wrong
    propagates as it is.
    """
