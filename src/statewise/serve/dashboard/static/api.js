// The server's interface. What comes back is shown as text only, never as markup.

const KEY = "statewise-token";
let token = sessionStorage.getItem(KEY) ?? "";
let unauthorized = () => {};

export const hasToken = () => token !== "";

export function setToken(value) {
  token = value;
  sessionStorage.setItem(KEY, value);
}

/** What to do when the server refuses the token, or asks for one. */
export function onUnauthorized(callback) {
  unauthorized = callback;
}

async function send(method, path, body, signal) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, signal, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) unauthorized();
  const error = new Error(said.error?.message ?? `The server answered ${answer.status}.`);
  error.status = answer.status;
  throw error;
}

/** One call, its answer as an object. */
export async function call(method, path, body) {
  const answer = await send(method, path, body);
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

/** The objects of a stream that has one a line, as they come. */
export async function* stream(path, signal) {
  const answer = await send("GET", path, undefined, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line);
  }
}

export const at = (session) => `v1/sessions/${encodeURIComponent(session)}`;
