"""Where sessions rest: memory, SQLite or Redis, behind one contract."""
