// Which units are on in all of a span and off next to it, and where else they are on: the rules of
// `statewise.inspect.find`.

function findUnits(recording, name, start, stop, threshold) {
  const single = recording.grids[name].words instanceof Float32Array, level = single ? Math.fround(threshold) : threshold;
  const beside = [start - 1, stop].filter((t) => t >= 0 && t < recording.steps);
  const found = [], always = [];
  for (let unit = 0; unit < recording.width(name); unit++) {
    const values = recording.unit(name, unit);
    let inside = 0, on = true;
    for (let t = start; t < stop && on; t++) {
      on = values[t] >= level;
      inside += values[t];
    }
    if (!on) continue;
    always.push(unit);
    const around = beside.map((t) => values[t]);
    if (around.some((value) => !(value >= level))) {
      found.push({ unit, mean: inside / (stop - start), outside: Math.min(...around) });
    }
  }
  found.sort((a, b) => (a.outside - a.mean) - (b.outside - b.mean) || a.unit - b.unit);
  return { units: found, always, matches: found.length ? findMatches(recording, name, found, start, stop, level) : [] };
}

/** Stretches outside the span in which most of the units are on. */
function findMatches(recording, name, found, start, stop, level) {
  const rows = found.map(({ unit }) => recording.unit(name, unit));
  const most = Math.max(1, Math.ceil(rows.length / 2));
  const fires = (t) => {
    let count = 0;
    for (const row of rows) if (row[t] >= level) count++;
    return count >= most;
  };
  const together = (first, last) => rows.filter((row) => row.subarray(first, last).every((value) => value >= level)).length;
  const matches = [];
  for (let t = 0, first = -1; t <= recording.steps; t++) {
    const on = t < recording.steps && fires(t);
    if (on && first < 0) first = t;
    if (on || first < 0) continue;
    if (t <= start || first >= stop) matches.push({ start: first, stop: t, units: together(first, t) });
    first = -1;
  }
  const length = stop - start, off = (match) => Math.abs(match.stop - match.start - length);
  return matches.sort((a, b) => b.units - a.units || off(a) - off(b) || a.start - b.start);
}
