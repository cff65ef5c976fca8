"""Tests of the packages in clients/."""
