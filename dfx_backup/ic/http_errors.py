"""What goes wrong with a call before it is executed; naming these errors needs no HTTP library."""

from dfx_backup.errors import NetworkError


class TransportError(NetworkError):
    """No usable answer came back.

    Attributes:
        sent: whether the request can have reached the replica.
        final: whether trying again is of no use.
    """

    def __init__(
        self, message: str, *, sent: bool, final: bool = False, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.sent = sent
        self.final = final


class HttpStatusError(NetworkError):
    """The replica answered with an HTTP error.

    Attributes:
        status: the HTTP status.
        retry_after_s: seconds to wait that the server asked for, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def final(self) -> bool:
        """Whether trying again is of no use: 4xx except 429."""
        return self.status != 429 and self.status < 500


class ExpiredError(NetworkError):
    """A call expired without being executed: it never will be, and the same may be tried anew."""
