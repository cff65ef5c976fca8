"""A module of the application. One of the daemon's packages has the same name."""

NAME = "the application's worker"
