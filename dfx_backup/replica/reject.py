"""The refusal of a message, as callers see it, and the end of a replica."""


class Reject(Exception):  # noqa: N818 - the interface specification's own word
    """A message was refused (interface specification, "Reject codes").

    Attributes:
        code: 1 SYS_FATAL, 2 SYS_TRANSIENT, 3 DESTINATION_INVALID, 4 CANISTER_REJECT,
            5 CANISTER_ERROR, 6 SYS_UNKNOWN.
        message: text for people.
        error_code: "IC0406" and the like.
    """

    SYS_FATAL = 1
    SYS_TRANSIENT = 2
    DESTINATION_INVALID = 3
    CANISTER_REJECT = 4
    CANISTER_ERROR = 5
    SYS_UNKNOWN = 6

    def __init__(self, code: int, message: str, error_code: str) -> None:
        super().__init__(code, message, error_code)
        self.code = code
        self.message = message
        self.error_code = error_code

    def __str__(self) -> str:
        return f"{self.error_code} ({self.code}): {self.message}"

    @classmethod
    def from_error_code(cls, number: int, message: str) -> "Reject":
        """A refusal whose reject code is the first digit of `number`, as in IC0406."""
        return cls(number // 100, message, f"IC{number:04d}")


class ReplicaFailedError(Exception):
    """A message could not be finished, so that memory and disk may differ: nothing runs any more.

    What was committed before is safe in the state directory, and comes back at the next start.
    """
