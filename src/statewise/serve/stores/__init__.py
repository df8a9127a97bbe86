"""Stores of sessions: memory, SQLite or Redis, with one contract."""
