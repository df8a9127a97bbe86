// The trace of a page or a widget: values by name, step and unit, decoded when they are needed.

/** The value of every half-precision number by its bits. */
const HALVES = (() => {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent === 31 ? (fraction ? NaN : Infinity)
      : exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction;
    table[bits] = bits & 32768 ? -size : size;
  }
  return table;
})();

const WORDS = { f2: Uint16Array, f4: Float32Array, f8: Float64Array };

async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Bytes that lie in planes, the most significant first, as numbers. */
function unshuffle(planes, type) {
  const size = Number(type[1]), count = planes.length / size;
  const bytes = new Uint8Array(planes.length);
  for (let place = 0; place < size; place++) {
    const from = (size - 1 - place) * count;
    for (let i = 0, to = place; i < count; i++, to += size) bytes[to] = planes[from + i];
  }
  return new WORDS[type](bytes.buffer);
}

/** An array of (rows, columns), one row a unit. */
class Grid {
  constructor({ rows, type, scale }, words) {
    Object.assign(this, { rows, scale, half: type === "f2", words });
    this.columns = rows ? words.length / rows : 0;
    this.cache = new Map();
  }

  static async decode(packed) {
    return new Grid(packed, unshuffle(await inflate(packed.data), packed.type));
  }

  at(row, column) {
    const word = this.words[row * this.columns + column];
    return this.half ? HALVES[word] / this.scale : word;
  }

  row(row) {
    if (!this.cache.has(row)) {
      const words = this.words.subarray(row * this.columns, (row + 1) * this.columns);
      this.cache.set(row, this.half ? Float32Array.from(words, (word) => HALVES[word] / this.scale) : words);
    }
    return this.cache.get(row);
  }
}

/** Characters that are twice as wide as Latin letters. */
const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff01-\uff60\p{Emoji_Presentation}]/u;

class Recording {
  /** From the payload that `statewise.inspect.page.build_payload` makes. */
  static async decode(payload) {
    const grids = async (packed) => Object.fromEntries(await Promise.all(
      Object.entries(packed).map(async ([name, one]) => [name, await Grid.decode(one)])));
    const recording = new Recording();
    const { values, before, initial, curves, loss, resets, unit, ...plain } = payload;
    Object.assign(recording, plain, {
      names: Object.keys(values),
      grids: await grids(values),
      start: await grids(before),
      fresh: await grids(initial),
      curves: await grids(curves),
      loss: loss && { unit: loss.unit, values: (await Grid.decode(loss.values)).row(0) },
      resets: new Set(resets),
      opening: unit,
    });
    recording.each = recording.kind !== "text" ? "row" : recording.labels.includes("") ? "byte"
      : recording.labels.every((label) => [...label].length === 1) ? "character" : "token";
    recording.wide = recording.kind === "text" && recording.labels.some((label) => WIDE.test(label));
    recording.series = Object.values(recording.curves)[0]?.row(0) ?? null;
    return recording;
  }

  /** The layer that a value belongs to. */
  layerOf(name) {
    const index = name.slice(0, name.indexOf("."));
    return this.layers.find((layer) => String(layer.index) === index);
  }

  /** The values of a layer whose unit k is unit k of this one, as the layer calls them. */
  companions(name) {
    const own = name.slice(name.indexOf(".") + 1);
    return this.layerOf(name).groups.find((group) => group.includes(own));
  }

  /** A sentence on the other values of the layer, whose unit k is another one; empty without them. */
  strangers(name) {
    const group = this.companions(name), others = this.layerOf(name).names.filter((own) => !group.includes(own));
    if (!others.length) return "";
    const listed = others.length === 1 ? others[0] : `${others.slice(0, -1).join(", ")} and ${others.at(-1)}`;
    return `${listed} ${others.length === 1 ? "has units of its own" : "have units of their own"}: choose one above to see it.`;
  }

  /** How many units a name has. */
  width(name) {
    return this.grids[name].rows;
  }

  /** A value; at step -1 that of the state before the first step, null for what is no state. */
  value(name, step, unit) {
    if (step >= 0) return this.grids[name].at(unit, step);
    return this.start[name]?.at(unit, 0) ?? null;
  }

  /** The value that a step finds: that of the step before, or the initial one after a reset. */
  before(name, step, unit) {
    return this.resets.has(step) ? this.fresh[name]?.at(unit, 0) ?? null : this.value(name, step - 1, unit);
  }

  /** One unit at every step. */
  unit(name, unit) {
    return this.grids[name].row(unit);
  }
}
