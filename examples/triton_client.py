"""Two sequences of a stock Triton client, stepped in turn: ``statewise serve run`` answers it.

``python examples/triton_client.py [HOST:PORT [MODEL]]`` after ``pip install 'tritonclient[http]'``.
"""

from __future__ import annotations

import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import triton_to_np_dtype

SEQUENCES = {1001: [321.5, 330.0, 342.5], 1002: [180.0, 175.5, 169.0]}


def main() -> None:
    """Step both sequences through their values and print what comes next in each."""
    where = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000"
    model = sys.argv[2] if len(sys.argv) > 2 else "run"
    with triton.InferenceServerClient(where) as client:
        (taken,) = client.get_model_metadata(model)["inputs"]
        dtype = triton_to_np_dtype(taken["datatype"])
        for turn in range(3):
            for sequence, values in SEQUENCES.items():
                x = triton.InferInput("inputs", [1, 1], taken["datatype"])
                x.set_data_from_numpy(np.array([[values[turn]]], dtype))
                answer = client.infer(
                    model,
                    [x],
                    sequence_id=sequence,
                    sequence_start=turn == 0,
                    sequence_end=turn == 2,
                )
                after = answer.as_numpy("outputs").item()
                print(f"{sequence}: {values[turn]:.1f}, then {after:.1f}")


if __name__ == "__main__":
    main()
