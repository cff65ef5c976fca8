"""A module of the application, which has the name of one of the daemon's."""

NAME = "the application's schema"
