"""A text that nobody is to see: passphrases and keys on their way to the program that needs them."""

from __future__ import annotations

from typing import Any, NoReturn

MASK = "***"


class Secret:
    """A text that shows itself as `***` however it is printed, and is no JSON.

    Two secrets are equal if their texts are. :meth:`reveal` is the one way to the text, so that a search for it
    finds every place that uses one.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Give it to the program that needs it, and to nothing that prints or keeps."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return format(MASK, specification)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self
