"""Classic tasks with a known answer: what a cell can learn to remember, and how far it carries"""

from statewise.inspect.exam.examiner import ExamResult, exam
from statewise.inspect.exam.tasks import TASKS, Task

__all__ = ["TASKS", "ExamResult", "Task", "exam"]
