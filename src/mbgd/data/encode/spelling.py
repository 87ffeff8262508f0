"""Find the code of a label by its text, or by its value where labels are numbers or truth values: 3, 3.0 and 03 are one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mbgd.data.cells import BLANKS, TRUTH, number, without_point
from mbgd.data.encode.shared import shared_code


class Spelling:
    """Code k is labels[k - 1]. Of labels that are all numbers '3', '3.0' and '03' are one, unless two of these are labels;
    of truth values 'True', '1' and '1.0' are one. `shared` codes come last, by a hash of the text."""

    def __init__(self, labels: Sequence[str], *, truth: bool, shared: int = 0) -> None:
        self._code_of = {label: code for code, label in enumerate(labels, 1)}
        for code, label in enumerate(labels, 1):  # files of before have labels with blanks around them
            self._code_of.setdefault(label.strip(BLANKS), code)
        for code, label in enumerate(labels, 1):  # a truth value that comes by itself is spelt 'true'
            if label.lower() in TRUTH:
                self._code_of.setdefault(label.lower(), code)
        self._first_shared, self._shared = len(labels) + 1, shared
        self._by_value: Mapping[float, int] = {}
        if truth or {label.lower() for label in labels} <= {*TRUTH}:
            self._by_value = {
                TRUTH[label.lower()]: code for label, code in self._code_of.items() if label.lower() in TRUTH
            }
        elif are_numbers(labels):
            self._by_value = {
                value: code for label, code in reversed(self._code_of.items()) if (value := number(label)) is not None
            }
        self._are_numbers = bool(self._by_value) and not truth

    def known(self, text: str) -> int:
        """The code of a label that was learned, else 0."""
        code = self._code_of.get(text, 0)
        if code or not self._by_value:
            return code
        value = number(text)
        value = TRUTH.get(text.lower()) if value is None else value
        return 0 if value is None else self._by_value.get(value, 0)

    def code(self, text: str) -> int:
        """The same, or where there are such, one that rarer labels share."""
        code = self.known(text)
        if code or not self._shared:
            return code
        return self._first_shared + shared_code(without_point(text) if self._are_numbers else text, self._shared)


def are_numbers(labels: Sequence[str]) -> bool:
    """Whether there are labels, and each is a number."""
    return bool(labels) and all(number(label) is not None for label in labels)
