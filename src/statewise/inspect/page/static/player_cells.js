// The cells that have a diagram: what is computed in which phase, what is said of it, where it is drawn.
//
// A part is drawn while its `when` passes: [phase, from, to] with from and to within the phase. `wide`
// and `narrow` say where: [x, y] of a node's middle, or lines of points of a pipe. What flows within the
// cell is drawn to the scale of all of `inner`, what flows out of it to that of `outer`.

const PLAYER_SQUASH = {
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  relu: (x) => Math.max(0, x),
  softsign: (x) => x / (1 + Math.abs(x)),
  hard_sigmoid: (x) => Math.min(1, Math.max(0, x / 6 + 0.5)),
  linear: (x) => x,
};

function playerNumber(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  const text = size >= 1e4 ? size.toPrecision(3) : size.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
  return (value < 0 && Number(text) ? "−" : "") + text;
}

function playerPercent(share) {
  const percent = 100 * share;
  return `${percent.toFixed(percent < 1 || percent > 99 ? 1 : 0)}%`;
}

/** How many values a layer reads of its own. */
const playerCount = (units) => (units === 1 ? "the one value" : `all ${units} values`);

/** A product's second factor, or a sum's second term, in words. */
const playerFactor = (value) => (value < 0 ? `(${playerNumber(value)})` : playerNumber(value));
const playerPlus = (value) => (value < 0 ? `− ${playerNumber(-value)}` : `+ ${playerNumber(value)}`);

const PLAYER_LSTM = {
  names: ["i", "f", "g", "o", "c", "h"],
  memory: "c",
  inner: (through) => [...through("c"), ...through("g")],
  outer: (through, squash) => through("c").map(squash),
  phases: ["Read", "Forget", "Write", "Add", "Show"],
  values: (now, old, squash) => ({
    ...now, oldC: old.c, oldH: old.h,
    kept: now.f * old.c, written: now.i * now.g, shown: squash(now.c),
  }),
  words: {
    Read: (v, { input, units, act }) =>
      `Reads ${input} and ${playerCount(units)} of the old h. Forget gate ${playerNumber(v.f)}, input gate ${playerNumber(v.i)}, output gate ${playerNumber(v.o)}; the candidate, ${act} of a sum, is ${playerNumber(v.g)}.`,
    Forget: (v) => `Keeps ${playerPercent(v.f)} of its memory: ${playerNumber(v.f)} × ${playerFactor(v.oldC)} = ${playerNumber(v.kept)}.`,
    Write: (v) => `Lets in ${playerPercent(v.i)} of the candidate: ${playerNumber(v.i)} × ${playerFactor(v.g)} = ${playerNumber(v.written)}.`,
    Add: (v) => `Both add up to the new memory: ${playerNumber(v.kept)} ${playerPlus(v.written)} = ${playerNumber(v.c)}.`,
    Show: (v, { act }) => `Shows ${playerPercent(v.o)} of ${act}(${playerNumber(v.c)}) = ${playerNumber(v.shown)}: the new h is ${playerNumber(v.h)}.`,
  },
  summary: (v, { act }) =>
    `Keeps ${playerPercent(v.f)} of ${playerNumber(v.oldC)}, adds ${playerNumber(v.i)} × ${playerFactor(v.g)}: c is ${playerNumber(v.c)}. Shows ${playerNumber(v.o)} of ${act}(c): h is ${playerNumber(v.h)}.`,
  equations: [
    [["new c", "c", 3], "=", ["f", "f", 1], "×", ["old c", "oldC", 1], "+", ["i", "i", 2], "×", ["g", "g", 2]],
    [["new h", "h", 4], "=", ["o", "o", 4], "×", ["ACT(c)", "shown", 4]],
  ],
  parts: [
    { id: "feeds", kind: "wire", when: [0, 0.2, 0.6] },
    { id: "fControl", kind: "wire", when: [1, 0, 0.3] },
    { id: "iControl", kind: "wire", when: [2, 0, 0.3] },
    { id: "oControl", kind: "wire", when: [4, 0.25, 0.5] },
    { id: "oldCPipe", kind: "pipe", value: "oldC", when: [1, 0, 0.45] },
    { id: "keptPipe", kind: "pipe", value: "kept", when: [1, 0.45, 1] },
    { id: "gPipe", kind: "pipe", value: "g", when: [2, 0, 0.45] },
    { id: "writtenPipe", kind: "pipe", value: "written", when: [2, 0.45, 1] },
    { id: "cDown", kind: "pipe", value: "c", when: [4, 0, 0.25] },
    { id: "cPipe", kind: "pipe", value: "c", when: [3, 0.15, 0.8] },
    { id: "shownPipe", kind: "pipe", value: "shown", scale: "outer", when: [4, 0.35, 0.6] },
    { id: "hPipe", kind: "pipe", value: "h", scale: "outer", when: [4, 0.6, 0.9] },
    { id: "fTimes", kind: "operator", sign: "×", share: "f", when: [1, 0, 0.45] },
    { id: "iTimes", kind: "operator", sign: "×", share: "i", when: [2, 0, 0.45] },
    { id: "plus", kind: "operator", sign: "+", when: [3, 0, 0.3] },
    { id: "oTimes", kind: "operator", sign: "×", share: "o", when: [4, 0.25, 0.6] },
    { id: "squash", kind: "squash", value: "c", to: "shown", when: [4, 0.2, 0.4] },
    { id: "caption", kind: "caption", when: [0, 0.2, 0.6] },
    { id: "input", kind: "input", when: [0, 0, 0.2] },
    { id: "f", kind: "gate", label: "forget", value: "f", when: [0, 0.5, 1], about: "GATE(W x + R h + b): the share of the old memory that is kept" },
    { id: "i", kind: "gate", label: "input", value: "i", when: [0, 0.5, 1], about: "GATE(W x + R h + b): the share of the candidate that is written" },
    { id: "g", kind: "tank", label: "candidate", scale: "outer", value: "g", when: [0, 0.5, 1], about: "ACT(W x + R h + b): what could be written" },
    { id: "o", kind: "gate", label: "output", value: "o", when: [0, 0.5, 1], about: "GATE(W x + R h + b): the share of the memory that is shown" },
    { id: "kept", kind: "note", label: "kept", value: "kept", when: [1, 0.6, 1] },
    { id: "written", kind: "note", label: "written", value: "written", when: [2, 0.6, 1] },
    { id: "shown", kind: "note", label: "ACT(c)", value: "shown", when: [4, 0.4, 0.6] },
    { id: "c", kind: "tank", label: "new", name: "c", value: "c", when: [3, 0.6, 1] },
    { id: "h", kind: "tank", label: "new", name: "h", scale: "outer", value: "h", when: [4, 0.75, 1] },
    { id: "oldC", kind: "tank", label: "old", name: "c", value: "oldC", when: [0, -1, 0], from: "c" },
    { id: "oldH", kind: "tank", label: "old", name: "h", scale: "outer", value: "oldH", when: [0, -1, 0], from: "h" },
  ],
  wide: {
    size: [860, 404],
    oldC: [66, 84], fTimes: [220, 84], plus: [440, 84], c: [794, 84],
    f: [220, 250], i: [330, 250], g: [440, 250], o: [564, 250],
    iTimes: [440, 162], squash: [686, 158], oTimes: [686, 250], h: [794, 250],
    oldH: [66, 250], input: [66, 352],
    feeds: [
      [[116, 352], [564, 352], [564, 284]], [[116, 250], [150, 250], [150, 352], [564, 352]],
      [[220, 352], [220, 284]], [[330, 352], [330, 284]], [[440, 352], [440, 284]],
    ],
    fControl: [[[220, 216], [220, 102]]], iControl: [[[330, 216], [330, 162], [422, 162]]], oControl: [[[608, 250], [668, 250]]],
    caption: [330, 374],
    oldCPipe: [[[118, 84], [203, 84]]], keptPipe: [[[237, 84], [423, 84]]],
    gPipe: [[[440, 214], [440, 179]]], writtenPipe: [[[440, 145], [440, 101]]],
    cPipe: [[[457, 84], [742, 84]]], cDown: [[[686, 84], [686, 130]]],
    shownPipe: [[[686, 186], [686, 233]]], hPipe: [[[703, 250], [742, 250]]],
    kept: [330, 58, "middle"], written: [466, 128, "start"], shown: [706, 213, "start"],
  },
  narrow: {
    size: [340, 622],
    input: [47, 42], oldH: [145, 42], oldC: [252, 42],
    fTimes: [252, 128], plus: [252, 272], c: [252, 366], squash: [252, 442], oTimes: [252, 510], h: [252, 582],
    f: [104, 128], i: [104, 200], g: [104, 272], o: [104, 510], iTimes: [190, 272],
    feeds: [
      [[47, 72], [47, 84], [22, 84], [22, 510], [60, 510]], [[145, 72], [145, 84], [22, 84], [22, 128]],
      [[22, 128], [60, 128]], [[22, 200], [60, 200]], [[22, 272], [60, 272]],
    ],
    fControl: [[[148, 128], [234, 128]]], iControl: [[[148, 200], [190, 200], [190, 254]]], oControl: [[[148, 510], [234, 510]]],
    oldCPipe: [[[252, 74], [252, 111]]], keptPipe: [[[252, 145], [252, 255]]],
    gPipe: [[[150, 272], [173, 272]]], writtenPipe: [[[207, 272], [235, 272]]],
    cPipe: [[[252, 289], [252, 334]]], cDown: [[[252, 398], [252, 416]]],
    shownPipe: [[[252, 468], [252, 493]]], hPipe: [[[252, 527], [252, 550]]],
    kept: [272, 196, "stack"], written: [192, 312, "below"], shown: [276, 476, "stack"],
  },
};

/** `reset`: the gate acts "after" the product with R, or "before" it. */
function playerGRU(reset) {
  const after = reset !== "before";
  const order = (first, second) => (after ? { matrix: first, rTimes: second } : { rTimes: first, matrix: second });
  return {
    names: ["r", "z", "n", "h"],
    memory: "h",
    inner: (through) => [...through("h"), ...through("n")],
    outer: (through) => through("h"),
    phases: ["Read", "Reset", "Keep", "Write", "Add"],
    values: (now, old) => ({
      ...now, oldH: old.h, gated: now.r * old.h, rest: 1 - now.z,
      kept: now.z * old.h, written: (1 - now.z) * now.n,
    }),
    words: {
      Read: (v, { input, units }) =>
        `Reads ${input} and ${playerCount(units)} of the old h. Update gate ${playerNumber(v.z)}, reset gate ${playerNumber(v.r)}.`,
      Reset: (v, { input, units, act }) => (after
        ? `The candidate gets ${playerPercent(v.r)} of the product of R and the old h, and ${input}: ${act} of their sum is ${playerNumber(v.n)}.`
        : `The candidate gets each old value through the reset gate of its unit, this one as ${playerNumber(v.r)} × ${playerFactor(v.oldH)} = ${playerNumber(v.gated)}, and ${input}: ${act} of the sum is ${playerNumber(v.n)}.`),
      Keep: (v) => `Keeps ${playerPercent(v.z)} of its old value: ${playerNumber(v.z)} × ${playerFactor(v.oldH)} = ${playerNumber(v.kept)}.`,
      Write: (v) => `The rest, ${playerPercent(v.rest)}, comes from the candidate: ${playerNumber(v.rest)} × ${playerFactor(v.n)} = ${playerNumber(v.written)}.`,
      Add: (v) => `Both add up: ${playerNumber(v.kept)} ${playerPlus(v.written)} = ${playerNumber(v.h)}, the new h.`,
    },
    summary: (v) =>
      `Keeps ${playerPercent(v.z)} of ${playerNumber(v.oldH)}, adds ${playerNumber(v.rest)} × ${playerFactor(v.n)}: h is ${playerNumber(v.h)}.`,
    equations: [
      [["new h", "h", 4], "=", ["z", "z", 2], "×", ["old h", "oldH", 2], "+", ["(1 − z)", "rest", 3], "×", ["n", "n", 3]],
    ],
    parts: [
      { id: "feeds", kind: "wire", when: [0, 0.2, 0.6] },
      { id: "recall", kind: "wire", when: [1, 0, 0.6] },
      { id: "readX", kind: "wire", when: [1, 0, 0.6] },
      { id: "rControl", kind: "wire", when: [1, 0, 0.25] },
      { id: "zControl", kind: "wire", when: [2, 0, 0.3] },
      { id: "restControl", kind: "wire", when: [3, 0, 0.3] },
      { id: "oldHPipe", kind: "pipe", value: "oldH", when: [2, 0, 0.45] },
      { id: "keptPipe", kind: "pipe", value: "kept", when: [2, 0.45, 1] },
      { id: "nPipe", kind: "pipe", value: "n", when: [3, 0, 0.45] },
      { id: "writtenPipe", kind: "pipe", value: "written", when: [3, 0.45, 1] },
      { id: "hPipe", kind: "pipe", value: "h", when: [4, 0.15, 0.8] },
      { id: "rTimes", kind: "operator", sign: "×", share: "r", when: [1, 0, 0.3] },
      { id: "matrix", kind: "matrix", label: "R", when: [1, 0, 0.4], about: "the weights of the candidate's recurrent part, over all units" },
      { id: "zTimes", kind: "operator", sign: "×", share: "z", when: [2, 0, 0.45] },
      { id: "nTimes", kind: "operator", sign: "×", share: "rest", when: [3, 0, 0.45] },
      { id: "plus", kind: "operator", sign: "+", when: [4, 0, 0.3] },
      { id: "input", kind: "input", when: [0, 0, 0.2] },
      { id: "r", kind: "gate", label: "reset", value: "r", when: [0, 0.5, 1], about: "GATE(W x + R h + b): the share of the old values that the candidate gets" },
      { id: "z", kind: "gate", label: "update", value: "z", when: [0, 0.5, 1], about: "GATE(W x + R h + b): the share of the old value that is kept" },
      { id: "n", kind: "tank", label: "candidate", value: "n", when: [1, 0.5, 1], about: after ? "ACT(W x + b + r (R h + m))" : "ACT(W x + b + R (r h))" },
      { id: "kept", kind: "note", label: "kept", value: "kept", when: [2, 0.6, 1] },
      { id: "rest", kind: "note", label: "1 − z", value: "rest", when: [3, 0, 0.3] },
      { id: "written", kind: "note", label: "written", value: "written", when: [3, 0.6, 1] },
      { id: "h", kind: "tank", label: "new", name: "h", value: "h", when: [4, 0.6, 1] },
      { id: "oldH", kind: "tank", label: "old", name: "h", value: "oldH", when: [0, -1, 0], from: "h" },
    ],
    wide: {
      size: [860, 420],
      oldH: [66, 84], zTimes: [236, 84], plus: [600, 84], h: [794, 84],
      z: [236, 174], nTimes: [600, 174], n: [600, 268], r: [236, 352], input: [66, 352],
      ...order([after ? 150 : 236, 268], [after ? 236 : 350, 268]),
      feeds: [
        [[66, 116], [66, 174], [192, 174]], [[66, 320], [66, 174], [192, 174]],
        [[66, 116], [66, 260], [66, 352], [192, 352]],
      ],
      recall: [[[66, 200], [66, 268], [556, 268]]],
      readX: [[[66, 384], [66, 406], [600, 406], [600, 302]]],
      rControl: [[[236, 318], [236, 286]]], zControl: [[[236, 140], [236, 102]]],
      restControl: [[[280, 174], [582, 174]]],
      oldHPipe: [[[118, 84], [219, 84]]], keptPipe: [[[253, 84], [583, 84]]],
      nPipe: [[[600, 232], [600, 191]]], writtenPipe: [[[600, 157], [600, 101]]],
      hPipe: [[[617, 84], [742, 84]]],
      kept: [420, 58, "middle"], rest: [430, 164, "middle"], written: [626, 134, "start"],
    },
    narrow: {
      size: [340, 540],
      input: [52, 42], oldH: [262, 42], zTimes: [262, 128], plus: [262, 404], h: [262, 498],
      z: [104, 128], r: [104, 202], n: [104, 404], nTimes: [196, 404],
      ...order([104, 264], [104, 328]),
      feeds: [
        [[52, 72], [52, 84], [22, 84], [22, 202], [60, 202]], [[262, 74], [262, 84], [22, 84], [22, 128], [60, 128]],
        [[22, 128], [60, 128]],
      ],
      recall: [[[22, 202], [22, 264], [104, 264], [104, 372]]],
      readX: [[[22, 264], [22, 404], [60, 404]]],
      rControl: [after ? [[148, 202], [166, 202], [166, 328], [122, 328]] : [[104, 232], [104, 246]]], zControl: [[[148, 128], [244, 128]]],
      restControl: [[[196, 128], [196, 386]]],
      oldHPipe: [[[262, 74], [262, 111]]], keptPipe: [[[262, 145], [262, 387]]],
      nPipe: [[[150, 404], [179, 404]]], writtenPipe: [[[213, 404], [245, 404]]],
      hPipe: [[[262, 421], [262, 466]]],
      kept: [282, 260, "stack"], rest: [203, 330, "stack"], written: [198, 438, "below"],
    },
  };
}

const PLAYER_ELMAN = {
  names: ["a", "h"],
  memory: "h",
  inner: (through) => through("a"),
  outer: (through) => through("h"),
  phases: ["Read", "Sum", "Show"],
  values: (now, old) => ({ ...now, oldH: old.h }),
  words: {
    Read: (v, { input, units }) => `Reads ${input} and ${playerCount(units)} of the old h, its own ${playerNumber(v.oldH)} among them.`,
    Sum: (v) => `Weighs and adds them: a is ${playerNumber(v.a)}. No gate keeps anything back.`,
    Show: (v, { act }) => `${act}(${playerNumber(v.a)}) = ${playerNumber(v.h)} is the new h. What is left of the old h is what the sum carries over.`,
  },
  summary: (v, { act }) => `Sums to ${playerNumber(v.a)}: h is ${act} of it, ${playerNumber(v.h)}.`,
  equations: [[["new h", "h", 2], "=", "ACT of", ["a", "a", 1]]],
  parts: [
    { id: "fromX", kind: "wire", when: [0, 0.1, 0.9] },
    { id: "fromH", kind: "wire", when: [0, 0.1, 0.9] },
    { id: "aPipe", kind: "pipe", value: "a", when: [1, 0.2, 0.7] },
    { id: "aDown", kind: "pipe", value: "a", when: [2, 0, 0.25] },
    { id: "hPipe", kind: "pipe", value: "h", scale: "outer", when: [2, 0.45, 0.8] },
    { id: "matrixX", kind: "matrix", label: "W", when: [0, 0.2, 0.7], about: "the weights of the inputs" },
    { id: "matrixH", kind: "matrix", label: "R", when: [0, 0.2, 0.7], about: "the weights of the old values, over all units" },
    { id: "plus", kind: "operator", sign: "+", when: [1, 0, 0.3] },
    { id: "squash", kind: "squash", value: "a", to: "h", when: [2, 0.2, 0.5] },
    { id: "input", kind: "input", when: [0, 0, 0.2] },
    { id: "a", kind: "tank", label: "sum", value: "a", when: [1, 0.5, 1], about: "W x + R h + b" },
    { id: "h", kind: "tank", label: "new", name: "h", scale: "outer", value: "h", when: [2, 0.7, 1] },
    { id: "oldH", kind: "tank", label: "old", name: "h", scale: "outer", value: "oldH", when: [0, -1, 0], from: "h" },
  ],
  wide: {
    size: [860, 300],
    oldH: [66, 84], input: [66, 232], matrixH: [196, 84], matrixX: [196, 232], plus: [310, 158],
    a: [438, 158], squash: [612, 158, "above"], h: [794, 158],
    fromX: [[[116, 232], [310, 232], [310, 176]]], fromH: [[[118, 84], [310, 84], [310, 140]]],
    aPipe: [[[327, 158], [386, 158]]], aDown: [[[490, 158], [584, 158]]], hPipe: [[[640, 158], [742, 158]]],
  },
  narrow: {
    size: [340, 506],
    input: [88, 42], oldH: [252, 42], matrixX: [88, 126], matrixH: [252, 126], plus: [170, 198],
    a: [170, 282], squash: [170, 376], h: [170, 464],
    fromX: [[[88, 72], [88, 198], [152, 198]]], fromH: [[[252, 74], [252, 198], [188, 198]]],
    aPipe: [[[170, 215], [170, 250]]], aDown: [[[170, 314], [170, 348]]], hPipe: [[[170, 404], [170, 432]]],
  },
};

/** The diagram of a layer of which these values are shown, or null where there is none. */
function playerCell(layer, names) {
  const cell = { LSTM: () => PLAYER_LSTM, GRU: () => playerGRU(layer.reset), Elman: () => PLAYER_ELMAN }[layer.cell]?.();
  const drawn = cell && PLAYER_SQUASH[layer.activation] && cell.names.every((name) => names.includes(name));
  return drawn ? cell : null;
}
