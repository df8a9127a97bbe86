"""A text model keeps its place: fork what it has read, save it, and go on from it later."""

from __future__ import annotations

from pathlib import Path

import statewise as sw

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

    stream = model.stream(" four, f", 0, state=state)  # nothing is written, the state goes on
    stream.state.save("place.safetensors")
    later = sw.State.load("place.safetensors")
    print("later:   ", model.generate(length=12, temperature=0, state=later))
    print("position:", later.position, "in", Path("place.safetensors"))


if __name__ == "__main__":
    main()
