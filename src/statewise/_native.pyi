import numpy
import numpy.typing

import statewise.state


def list_isas() -> list[str]:
    """The instruction sets that this machine runs, slowest first."""

def get_isa() -> str:
    """The instruction set that packs and runs from now on."""

def select_isa(name: str) -> None:
    """Use another instruction set for what is packed from now on."""

def get_vector_width() -> int:
    """Floats in a vector."""

def get_threads() -> int:
    """How many threads a call may use."""

def set_threads(count: int) -> None:
    """Let a call use so many threads, 0 for the default."""

def apply_function(name: str, x: numpy.typing.NDArray[numpy.float32]) -> numpy.typing.NDArray[numpy.float32]:
    """exp, sigmoid or tanh of x (N,), as the kernels compute it."""

def sum_buffer(buffer: numpy.typing.NDArray[numpy.float32]) -> float:
    """The sum of a buffer (N,): how quickly memory is read."""

def multiply_add(rounds: int) -> float:
    """
    Rounds of twelve independent multiply-adds of a vector: the peak of a core.
    """

class CellLayout:
    """How the kernels of a cell lay out its gates."""

    @property
    def gates(self) -> str:
        """A letter for each gate, as they are stacked in W, R and b."""

    @property
    def parameters(self) -> str:
        """A letter for each array of weights."""

    @property
    def slot_count(self) -> int:
        """Slots in a row of gates that a run saves."""

    @property
    def gate_slots(self) -> dict[str, int]:
        """By letter, the slot that holds the gate."""

    @property
    def has_c(self) -> bool:
        """Whether there is a cell state c beside h."""

def cell_layout(name: str) -> CellLayout:
    """The layout of the cell of this name."""

def gates_width(name: str, units: int) -> int:
    """Floats in a row of gates: one step of one row."""

class Layer:
    """One layer's weights, packed for its kernels."""

    def __init__(self, cell: str, inputs: int, units: int, W: numpy.typing.NDArray[numpy.float32], R: numpy.typing.NDArray[numpy.float32], b: numpy.typing.NDArray[numpy.float32], m: numpy.typing.NDArray[numpy.float32] | None = None, p: numpy.typing.NDArray[numpy.float32] | None = None, bf16: bool = False, backward: bool = False, toward_inputs: bool = True, borrow: bool = False) -> None:
        """
        Pack the weights of a cell by name: in bfloat16, or for the way back (and then toward the inputs too, or not). With `borrow` the layer runs on torch's threads.
        """

    def forward(self, x: numpy.typing.NDArray[numpy.float32], h0: numpy.typing.NDArray[numpy.float32], c0: numpy.typing.NDArray[numpy.float32] | None, reset: numpy.typing.NDArray[numpy.bool] | None, h_init: numpy.typing.NDArray[numpy.float32] | None, c_init: numpy.typing.NDArray[numpy.float32] | None, lengths: numpy.typing.NDArray[numpy.int64] | None, save: bool) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32] | None, numpy.typing.NDArray[numpy.float32] | None, numpy.typing.NDArray[numpy.float32] | None]:
        """
        A sequence x (B, T, F): y, the final h and c, and with `save` the gates (T, B, gates_width) and every c (T, B, units).
        """

    def backward(self, x: numpy.typing.NDArray[numpy.float32], h0: numpy.typing.NDArray[numpy.float32], c0: numpy.typing.NDArray[numpy.float32] | None, reset: numpy.typing.NDArray[numpy.bool] | None, h_init: numpy.typing.NDArray[numpy.float32] | None, c_init: numpy.typing.NDArray[numpy.float32] | None, lengths: numpy.typing.NDArray[numpy.int64] | None, y: numpy.typing.NDArray[numpy.float32], gates: numpy.typing.NDArray[numpy.float32], cells: numpy.typing.NDArray[numpy.float32] | None, dy: numpy.typing.NDArray[numpy.float32] | None, dh: numpy.typing.NDArray[numpy.float32] | None, dc: numpy.typing.NDArray[numpy.float32] | None, inputs: bool) -> tuple[numpy.typing.NDArray[numpy.float32] | None, ...]:
        """
        From what `forward` returned and the gradients of y and the final state to those of x, W, R, b, m, p, h0, c0, h_init and c_init, None where there is none.
        """

def list_state_slots() -> list[str]:
    """The slots that a class of states must have, in order."""

class Program:
    """A whole model, its weights packed part by part."""

    def __init__(self, inputs: int) -> None:
        """A model of so many features, or known tokens."""

    def set_embedding(self, table: numpy.typing.NDArray[numpy.float32]) -> None:
        """Take tokens as inputs: their vectors (tokens, width)."""

    def add_layer(self, cell: str, units: int, residuals: int, bf16: bool, h: str, c: str | None, W: numpy.typing.NDArray[numpy.float32], R: numpy.typing.NDArray[numpy.float32], b: numpy.typing.NDArray[numpy.float32], m: numpy.typing.NDArray[numpy.float32] | None = None, p: numpy.typing.NDArray[numpy.float32] | None = None) -> None:
        """
        A recurrent layer inside so many residual connections, and its state fields' names.
        """

    def add_norm(self, scale: numpy.typing.NDArray[numpy.float32], shift: numpy.typing.NDArray[numpy.float32], epsilon: float, residuals: int) -> None:
        """Layer normalisation."""

    def add_identity(self, residuals: int) -> None:
        """A layer that does nothing outside training, such as dropout."""

    def add_carried(self, name: str) -> None:
        """A state field that is handed on as it is."""

    def add_output(self, name: str) -> None:
        """A state field that holds the last output."""

    def set_linear(self, W: numpy.typing.NDArray[numpy.float32], b: numpy.typing.NDArray[numpy.float32], bf16: bool) -> None:
        """The linear output."""

    @property
    def slot_floats(self) -> int:
        """Floats of a session's slot."""

    def make_states(self, type: type, origin: object) -> None:
        """
        Let `advance` take and make states of this class, see `list_state_slots`, and origin.
        """

    def step(self, x: object | None, arrays: object | None, position: object | None) -> tuple[numpy.typing.NDArray[numpy.float32], dict[str, numpy.typing.NDArray[numpy.float32]], numpy.typing.NDArray[numpy.int64]] | None:
        """
        One step: y, the fields and the position after it; None where anything is not plainly as expected.
        """

    def advance(self, x: object | None, state: object | None, sequence: bool) -> tuple[numpy.typing.NDArray[numpy.float32], statewise.state.State] | None:
        """
        One step, or a sequence, from a state of this program to the next: y and the state; None where anything is not plainly as expected.
        """

    def sample(self, noise: object | None, arrays: object | None) -> tuple[numpy.typing.NDArray[numpy.int64], dict[str, numpy.typing.NDArray[numpy.float32]]] | None:
        """
        Steps that read what they draw, the largest of the last outputs and noise (T, B, outputs): the tokens (T, B) and every field after every step; None where anything is not plainly as expected.
        """

    def call(self, x: object, arrays: dict[str, numpy.typing.NDArray[numpy.float32]], initial: dict[str, numpy.typing.NDArray[numpy.float32]] | None, reset: numpy.typing.NDArray[numpy.bool] | None, lengths: numpy.typing.NDArray[numpy.int64] | None) -> tuple[numpy.typing.NDArray[numpy.float32], dict[str, numpy.typing.NDArray[numpy.float32]]]:
        """
        A sequence with resets (B, T) and lengths (B,): y and the fields after it.
        """

    def step_slots(self, x: object, slots: numpy.typing.NDArray[numpy.int64], table: numpy.typing.NDArray[numpy.float32], generations: numpy.typing.NDArray[numpy.int64], busy: numpy.typing.NDArray[numpy.bool], positions: numpy.typing.NDArray[numpy.int64]) -> numpy.typing.NDArray[numpy.float32]:
        """One step of some slots of a table, in place: y."""
