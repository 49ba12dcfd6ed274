"""The one exception family of sepvox.

Every fault that a user can cause or mend is a `SepvoxError`. Its message is one line that says what was given, what was
expected, which file, key or axis it was, and how to mend it. The command line prints that line and exits with status 2.
"""


class SepvoxError(Exception):
    """A fault that the user can mend; the message is one line."""


class ConfigError(SepvoxError):
    """The configuration is wrong: unknown key, wrong type, impossible combination."""


class InputError(SepvoxError):
    """The user's data is wrong: missing file or key, shape, type or content."""


class StoreError(SepvoxError):
    """A store or file that sepvox wrote is damaged, incomplete or cannot be written."""


class AccessError(SepvoxError):
    """An address cannot be reached, or what it needs is not installed."""


class DeniedError(AccessError):
    """The server at an address does not let sepvox in."""


class StaleError(SepvoxError):
    """Saved state belongs to another configuration or other input and is not reused."""
