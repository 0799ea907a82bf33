/**
 * Reads the packed field of a Wattwarden "minutes" document (docs/cloud-documents.md).
 *
 * No dependencies: runs in browsers, Node 18 and later, and Cloud Functions.
 */

/** One channel over one minute; null where a value was not measured. W, var, V, A, Wh. */
export interface MinuteRow {
  /** Start of the minute, Unix milliseconds. */
  start: number;
  n: number;
  dt: number;
  p: number | null;
  p_min: number | null;
  p_max: number | null;
  q: number | null;
  v: number | null;
  v_min: number | null;
  v_max: number | null;
  i: number | null;
  wh_in: number | null;
  wh_out: number | null;
}

/** A packed document's fields, with times as Unix milliseconds. */
export interface MinutesDocument {
  meter: string;
  start: number;
  end: number;
  data: Uint8Array;
}

const VERSION = 1;
const MINUTE_MS = 60_000;
const VALUES = [
  "n", "dt", "p", "p_min", "p_max", "q", "v", "v_min", "v_max", "i", "wh_in", "wh_out",
] as const;
const enum Layout { Nothing, Full, Some, Floats }

/** A field cannot be read: cut off, damaged, or of a newer version. */
export class BadPackError extends Error {
  override name = "BadPackError";
}

/** Return the rows of each channel; `start` is the document's own, in Unix milliseconds. */
export async function unpack(data: Uint8Array, start: number): Promise<Map<string, MinuteRow[]>> {
  if (data[0] !== VERSION) {
    throw new BadPackError(`format ${data[0] ?? "none"}, this program reads ${VERSION}`);
  }
  let plain: Uint8Array;
  try {
    plain = await inflate(data.subarray(1));
  } catch (error) {
    throw new BadPackError(`damaged: ${String(error)}`);
  }
  return new Reader(plain).channels(start);
}

/**
 * Return the rows of several documents, each minute of a channel once: of two documents with the
 * same minute the one over the longer span counts. Keys are "meter/channel".
 */
export async function merge(documents: MinutesDocument[]): Promise<Map<string, MinuteRow[]>> {
  const ordered = [...documents].sort((a, b) => a.end - a.start - (b.end - b.start));
  const found = new Map<string, Map<number, MinuteRow>>();
  for (const document of ordered) {
    for (const [channel, rows] of await unpack(document.data, document.start)) {
      const key = `${document.meter}/${channel}`;
      const own = found.get(key) ?? new Map<number, MinuteRow>();
      found.set(key, own);
      for (const row of rows) own.set(row.start, row);
    }
  }
  const byTime = (a: MinuteRow, b: MinuteRow): number => a.start - b.start;
  return new Map([...found].map(([key, own]) => [key, [...own.values()].sort(byTime)]));
}

async function inflate(packed: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([packed as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

class Reader {
  private at = 0;

  constructor(private readonly plain: Uint8Array) {}

  channels(start: number): Map<string, MinuteRow[]> {
    const found = new Map<string, MinuteRow[]>();
    for (let left = this.count(); left > 0; left--) {
      const name = new TextDecoder().decode(this.bytes(this.count()));
      const count = this.count();
      const minutes = this.differences(count);
      const columns = VALUES.map(() => this.column(count));
      found.set(name, minutes.map((minute, place) => {
        const row: Record<string, number | null> = { start: start + minute * MINUTE_MS };
        VALUES.forEach((value, column) => { row[value] = columns[column]?.[place] ?? null; });
        return row as unknown as MinuteRow;
      }));
    }
    if (this.at !== this.plain.length) throw new BadPackError("bytes are left over");
    return found;
  }

  private bytes(count: number): Uint8Array {
    const piece = this.plain.subarray(this.at, this.at + count);
    if (piece.length !== count) throw new BadPackError("it ends too early");
    this.at += count;
    return piece;
  }

  /** An unsigned LEB128 integer; BigInt, for differences may need more than 32 bits. */
  private number(): bigint {
    let number = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.plain[this.at++];
      if (byte === undefined) throw new BadPackError("it ends too early");
      number |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return number;
    }
  }

  private count(): number {
    return Number(this.number());
  }

  private differences(count: number): number[] {
    const numbers: number[] = [];
    let last = 0n;
    for (let left = count; left > 0; left--) {
      const folded = this.number();
      last += (folded & 1n) === 1n ? -((folded + 1n) >> 1n) : folded >> 1n;
      numbers.push(Number(last));
    }
    return numbers;
  }

  private column(count: number): (number | null)[] {
    const head = this.count();
    const layout = head & 3;
    const scale = 10 ** (head >> 2);
    if (layout === Layout.Nothing) return new Array<null>(count).fill(null);
    const there = new Array<boolean>(count).fill(true);
    if (layout !== Layout.Full) {
      const bits = this.bytes((count + 7) >> 3);
      there.forEach((_, place) => {
        there[place] = (((bits[place >> 3] ?? 0) >> (place & 7)) & 1) === 1;
      });
    }
    const known = there.filter(Boolean).length;
    const values = layout === Layout.Floats
      ? this.floats(known)
      : this.differences(known).map((value) => value / scale);
    let next = 0;
    return there.map((is) => (is ? values[next++] ?? null : null));
  }

  private floats(count: number): number[] {
    const piece = this.bytes(8 * count);
    const view = new DataView(piece.buffer, piece.byteOffset, piece.length);
    return Array.from({ length: count }, (_, place) => view.getFloat64(8 * place, true));
  }
}
