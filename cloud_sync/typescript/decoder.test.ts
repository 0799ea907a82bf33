/** The decoder against the vectors that the Python one is held to. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { BadPackError, merge, unpack } from "./decoder.js";

interface Vector {
  name: string;
  start_ms: number;
  data: string;
  rows: Record<string, (number | null)[][]>;
}

const path = process.env["WATTWARDEN_VECTORS"];
if (path === undefined) throw new Error("WATTWARDEN_VECTORS must name vectors.json");
const vectors = JSON.parse(readFileSync(path, "utf8")) as Vector[];

for (const vector of vectors) {
  test(vector.name, async () => {
    const found = await unpack(Buffer.from(vector.data, "base64"), vector.start_ms);
    const rows = Object.fromEntries(
      [...found].map(([name, own]) => [name, own.map((row) => Object.values(row))]),
    );
    assert.deepEqual(rows, vector.rows);
  });
}

test("what is no pack is refused", async () => {
  const good = Buffer.from(vectors[0]?.data ?? "", "base64");
  for (const bad of [new Uint8Array(), new Uint8Array([2, 1]), good.subarray(0, good.length - 6)]) {
    await assert.rejects(unpack(bad, 0), BadPackError);
  }
});

test("of two documents with a minute the longer one counts", async () => {
  const vector = vectors.find(({ name }) => name === "one minute");
  assert(vector !== undefined);
  const start = vector.start_ms;
  const data = Buffer.from(vector.data, "base64");
  const found = await merge([
    { meter: "m", start, end: start + 3_600_000, data },
    { meter: "m", start, end: start + 900_000, data },
  ]);
  assert.deepEqual([...found.keys()], ["m/grid"]);
  assert.equal(found.get("m/grid")?.length, 1);
});
