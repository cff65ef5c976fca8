"""Stories: what customers do, such as signing up or paying late, with all objects and events that follow.

A story is a function whose keyword arguments are its parameters. `play` calls it by name, with parameters from JSON.
"""

from sandbox.stories import billing as billing
from sandbox.stories import changes as changes
from sandbox.stories import membership as membership
from sandbox.stories import organizations as organizations
from sandbox.stories import purchases as purchases
from sandbox.stories import trouble as trouble
from sandbox.stories.playing import STORIES as STORIES
from sandbox.stories.playing import play as play
