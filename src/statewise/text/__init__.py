"""Text one character or byte at a time: models that learn it, score it and write it."""

from statewise.text.generation import Generation
from statewise.text.model import TextModel
from statewise.text.sampling import Sampling
from statewise.text.vocabulary import Vocabulary

__all__ = ["Generation", "Sampling", "TextModel", "Vocabulary"]
