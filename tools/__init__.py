"""Chores of development: run as ``python -m tools.NAME``, or by their make targets."""
