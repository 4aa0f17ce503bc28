"""The front end for recommenders: users and items become ids.

Id 0 is a user, or an item, that nobody knows.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

UNKNOWN = 0


@dataclass(frozen=True)
class InteractionFrontEnd:
    """The users and items of a training split.

    Attributes:
        users: Their names; the first has id 1.
        items: Likewise, those taken most often first: of items with the same score the first is recommended first.

    Raises:
        ValueError: Names that are no text.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]

    def __post_init__(self) -> None:
        # JSON knows lists only.
        object.__setattr__(self, "users", tuple(self.users))
        object.__setattr__(self, "items", tuple(self.items))
        if not all(isinstance(name, str) for name in (*self.users, *self.items)):
            raise ValueError("Expected names of users and items as text. Received: others.")

    @functools.cached_property
    def user_ids(self) -> dict[str, int]:
        """Id of each user."""
        return {name: place for place, name in enumerate(self.users, UNKNOWN + 1)}

    @functools.cached_property
    def item_ids(self) -> dict[str, int]:
        """Id of each item."""
        return {name: place for place, name in enumerate(self.items, UNKNOWN + 1)}

    @property
    def shape(self) -> tuple[int]:
        """`(2,)`: the id of the user and that of the item."""
        return (2,)
