// What the page asks the server. All addresses are relative: the token is in the page's own.

/** What went wrong: `id` is the server's, or "gone" if it does not answer. */
export class Fault extends Error {
  constructor(id, message) {
    super(message);
    this.id = id;
  }
}

const GONE = "The server does not answer. Start sautomed studio again and open the address that it prints: "
  + "every edit it had confirmed is still there.";

async function ask(path, body, signal) {
  let response;
  try {
    response = await fetch(`api/${path}`, body === undefined ? { signal } : {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal,
    });
  } catch {
    throw new Fault("gone", GONE);
  }
  if (response.ok) return response;
  const text = await response.text();
  let fault = { id: "http", message: text };
  try {
    fault = JSON.parse(text);
  } catch { /* plain text */ }
  throw new Fault(fault.id ?? "http", fault.message ?? text);
}

export const scans = async () => (await ask("scans")).json();
export const mark = async (name, done) => (await ask("done", { case: name, done })).json();
export const edit = async (revision, change) => (await ask("edit", { revision, edit: change })).json();
export const undo = async (revision) => (await ask("undo", { revision })).json();
export const redo = async (revision) => (await ask("redo", { revision })).json();
export const save = async (revision, endings, replace) => (await ask("save", { revision, endings, replace })).json();
export const cancel = async () => (await ask("cancel", {})).json();
export const open = (name, onEvent) => stream("open", { case: name }, onEvent);
export const walk = (request, onEvent) => stream("walk", request, onEvent);

/** Return slices of an opened scan as 16 bit integers. */
export async function intensities(number, start, count, signal) {
  const buffer = await (await ask(`intensities/${number}/${start}/${count}`, undefined, signal)).arrayBuffer();
  return new Int16Array(buffer);
}

/** Call `onEvent` for each event of an answer as it arrives; a fault is thrown. */
async function stream(path, body, onEvent) {
  const reader = (await ask(path, body)).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch {
      throw new Fault("gone", GONE);
    }
    if (part.done) return;
    const events = (text + part.value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const found = JSON.parse(event.replace(/^data: /, ""));
      if (found.kind === "fault") throw new Fault(found.id, found.message);
      onEvent(found);
    }
  }
}
