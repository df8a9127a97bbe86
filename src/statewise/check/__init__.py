"""What does this model do with its state? Answered by running it"""

from statewise.check.checking import run
from statewise.check.report import Report, Row

__all__ = ["Report", "Row", "run"]
