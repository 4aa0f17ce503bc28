"""What class folders may hold: one kind of file, how it is inspected and what dataset it makes."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kzoo.errors import DataError

if TYPE_CHECKING:
    from .dataset import Labels, Split
    from .options import Options
    from .spec import InputSpec, Kind


class UnreadableFileError(DataError):
    """A file that cannot be decoded; the message is the reason alone."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What is known of one file.

    Attributes:
        path: Relative to the root, with `/`.
        size: Bytes.
        mtime_ns: Time of the last change.
        digest: SHA-256 of the content, empty for a file that could not be opened.
        error: Why it is unreadable, empty for a sound file.
        facts: What its medium found in it; None where it is unreadable.
    """

    path: str
    size: int
    mtime_ns: int
    digest: str
    error: str = ""
    facts: Any = None


@dataclass(frozen=True, slots=True)
class LabelledFiles:
    """The files of a split, with their labels `(files,)`."""

    records: Sequence[FileRecord]
    labels: Labels


class Medium(abc.ABC):
    """One kind of file.

    Attributes:
        many: What several are called.
        formats: Of the files.
        suffixes: In lower case.
        kind: What a model must take.
        version: Of `inspect`: what was found by another is found anew.
        facts: A dataclass of numbers.
    """

    many: ClassVar[str]
    formats: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    kind: ClassVar[Kind]
    version: ClassVar[str]
    facts: ClassVar[type[Any]]

    @abc.abstractmethod
    def inspect(self, content: bytes) -> Any:
        """Decode a file's content once and say what a dataset needs to know, as `facts`.

        Raises:
            UnreadableFileError: For a damaged file, or one of another format.
        """

    @abc.abstractmethod
    def open(
        self, root: Path, files: Mapping[str, LabelledFiles], options: Options
    ) -> tuple[InputSpec, dict[str, Split]]:
        """Decide on the input and make a split of each part's files.

        Args:
            root: The folder.
            files: By split.
            options: How to open them.
        """
