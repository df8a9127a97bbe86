"""A text goes on from a state: fork it, save it, and go on with the same draws later."""

from __future__ import annotations

import statewise as sw
from statewise.text import Generation, Sampling

RHYME = (
    "one, two, three, four, five, once I caught a fish alive, "
    "six, seven, eight, nine, ten, then I let it go again.\n"
)


def main() -> None:
    """Learn a rhyme, then write it in parts."""
    model = sw.TextModel([sw.LSTM(48)], width=16)
    model.fit(RHYME * 40, epochs=20, lanes=4, chunk=57, learning_rate=1e-2, folder="rhyme")

    model = sw.TextModel.load("rhyme")  # from here on without torch
    print(f"{model.score(RHYME * 2):.2f} bits per character")

    state = model.read("one, two, three")
    print("greedy:  ", model.generate(length=20, temperature=0, state=state))
    for text in model.branch(length=20, branches=3, state=state, seed=0):
        print("a branch:", text)

    first = model.stream(" four", 20, Sampling(2.0, seed=1), state)
    begin = write(model, first)
    first.save("place.safetensors")  # the state, and the place of the draws
    later = sw.State.load("place.safetensors")
    sampling = Sampling.load("place.safetensors", temperature=2.0)
    rest = write(model, model.stream("", 20, sampling, later))
    print("in parts:", begin + rest)
    print("at once: ", write(model, model.stream(" four", 40, Sampling(2.0, seed=1), state)))
    print("position:", later.position)


def write(model: sw.TextModel, stream: Generation) -> str:
    """The text of a stream of one row."""
    return model.decode([int(tokens[0]) for tokens in stream])


if __name__ == "__main__":
    main()
