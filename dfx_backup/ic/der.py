"""As much of DER (X.690) as key files need: a reader of tags, lengths and contents.

Key files come in containers that no single library reads all of, so this program takes them apart
itself. Nothing here ever puts a file's content into a message.
"""

from dataclasses import dataclass
from typing import Final

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
SEQUENCE: Final = 0x30

_LONG_FORM = 0x80
_MULTI_BYTE_TAG = 0x1F


class DerError(ValueError):
    """The bytes are not the structure that was asked for; the text never quotes them."""


@dataclass(frozen=True, slots=True, repr=False)
class Element:
    """One value of a DER structure.

    Attributes:
        tag: the identifier byte, class and constructed bit included.
        content: the bytes after tag and length.
    """

    tag: int
    content: bytes

    def expect(self, tag: int) -> bytes:
        """The content, when the tag is this one.

        Raises:
            DerError: it is another.
        """
        if self.tag != tag:
            raise DerError(f"expected tag {tag:#04x}, found {self.tag:#04x}")
        return self.content


def read_elements(data: bytes) -> list[Element]:
    """Read the values that stand one after the other in `data`, which must end with the last.

    Raises:
        DerError: a value is cut off, or uses a form that DER or key files do not use.
    """
    elements = []
    position = 0
    while position < len(data):
        element, position = _read_element(data, position)
        elements.append(element)
    return elements


def read_sequence(data: bytes) -> list[Element]:
    """Read one SEQUENCE that fills `data`, and return its parts.

    Raises:
        DerError: it is something else, or more follows.
    """
    elements = read_elements(data)
    if len(elements) != 1:
        raise DerError(f"expected one value, found {len(elements)}")
    return read_elements(elements[0].expect(SEQUENCE))


def read_integer(element: Element) -> int:
    """The value of an INTEGER that is not negative.

    Raises:
        DerError: it is no INTEGER, is empty, or is negative.
    """
    content = element.expect(INTEGER)
    if not content or content[0] & 0x80:
        raise DerError("expected a number that is not negative")
    return int.from_bytes(content, "big")


def read_bit_string(element: Element) -> bytes:
    """The bytes of a BIT STRING of whole bytes.

    Raises:
        DerError: it is no BIT STRING, or has unused bits.
    """
    content = element.expect(BIT_STRING)
    if not content or content[0] != 0:
        raise DerError("expected a bit string of whole bytes")
    return content[1:]


def _read_element(data: bytes, start: int) -> tuple[Element, int]:
    if start + 2 > len(data):
        raise DerError("cut off in a header")
    tag, length = data[start], data[start + 1]
    if tag & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:
        raise DerError("tags of several bytes are not used in key files")
    position = start + 2
    if length & _LONG_FORM:
        count = length & ~_LONG_FORM
        if not 1 <= count <= 4 or position + count > len(data):
            raise DerError("cut off in a length, or of indefinite length")
        length = int.from_bytes(data[position : position + count], "big")
        position += count
    end = position + length
    if end > len(data):
        raise DerError("cut off in a value")
    return Element(tag, data[position:end]), end
