"""Stories: lives of customers, played out with all the objects and events they leave behind.

A story is a function whose keyword arguments are its parameters. `play` calls it by name, with parameters from JSON.
"""

from sandbox.stories import changes, membership, organizations, purchases, trouble
from sandbox.stories.telling import STORIES, play

__all__ = ["STORIES", "changes", "membership", "organizations", "play", "purchases", "trouble"]
