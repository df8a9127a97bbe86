"""The probes: importing this registers all of them, in the order of the report"""

from statewise.check.probes import calls, sequences, padding, rows, states  # noqa: F401, I001
