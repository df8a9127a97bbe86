"""Text one character or byte at a time: models that learn it, write it and keep their place."""

from statewise.text.generation import Generation
from statewise.text.model import TextModel
from statewise.text.vocabulary import Vocabulary

__all__ = ["Generation", "TextModel", "Vocabulary"]
