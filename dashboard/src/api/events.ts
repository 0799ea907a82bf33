/** Server-sent events by fetch: unlike EventSource it tells statuses and the heartbeat. */

export interface ServerEvent { id: string | null; event: string; data: string }

/** Cuts a stream of text into events; comments are told as event "". */
export class EventParser {
  #rest = "";

  *push(text: string): Generator<ServerEvent> {
    this.#rest += text.replaceAll("\r\n", "\n");
    let end = this.#rest.indexOf("\n\n");
    while (end >= 0) {
      const event = parse(this.#rest.slice(0, end));
      this.#rest = this.#rest.slice(end + 2);
      if (event) yield event;
      end = this.#rest.indexOf("\n\n");
    }
  }
}

function parse(block: string): ServerEvent | null {
  let id: string | null = null;
  let event = "message";
  const data: string[] = [];
  let comment = false;
  for (const line of block.split("\n")) {
    if (line.startsWith(":")) {
      comment = true;
      continue;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "id") id = value;
    else if (name === "event") event = value;
    else if (name === "data") data.push(value);
  }
  if (data.length > 0) return { id, event, data: data.join("\n") };
  return comment ? { id: null, event: "", data: "" } : null;
}

/** Reads events until the stream ends; throws what fetch throws. `lastId` resumes. */
export async function* events(
  url: string, lastId: string | null, signal: AbortSignal,
): AsyncGenerator<ServerEvent | { status: number }> {
  const headers: Record<string, string> = { accept: "text/event-stream" };
  if (lastId !== null) headers["last-event-id"] = lastId;
  const answer = await fetch(url, { headers, signal, cache: "no-store" });
  yield { status: answer.status };
  if (!answer.ok || !answer.body) return;
  const parser = new EventParser();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield* parser.push(value);
  }
}
