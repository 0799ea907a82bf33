import { describe, expect, it } from "vitest";
import { broken, holes } from "@/lib/line";
import { DAY_MS, fromWall, HOUR_MS, offsetMs, startOf, step, toWall } from "@/lib/zone";

const LISBON = "Europe/Lisbon";
const at = (text: string) => Date.parse(text);

describe("the site's days", () => {
  it("begin at local midnight", () => {
    expect(startOf(at("2026-07-10T12:00:00Z"), "day", LISBON)).toBe(at("2026-07-09T23:00:00Z"));
    expect(startOf(at("2026-11-22T12:00:00Z"), "week", LISBON)).toBe(at("2026-11-16T00:00:00Z"));
  });

  it("have 23 and 25 hours when the clock changes", () => {
    const spring = startOf(at("2026-03-29T12:00:00Z"), "day", LISBON);
    const autumn = startOf(at("2026-10-25T12:00:00Z"), "day", LISBON);
    expect(step(spring, "day", 1, LISBON) - spring).toBe(23 * HOUR_MS);
    expect(step(autumn, "day", 1, LISBON) - autumn).toBe(25 * HOUR_MS);
  });

  it("come back from wall time", () => {
    for (const day of [0, 40, 87, 200, 299, 330]) {
      const moment = at("2026-01-01T09:30:00Z") + day * DAY_MS;
      expect(fromWall(toWall(moment, LISBON), LISBON)).toBe(moment);
    }
    expect(offsetMs(at("2026-07-01T00:00:00Z"), "Asia/Kolkata")).toBe(5.5 * HOUR_MS);
  });
});

describe("lines", () => {
  it("break where the time jumps", () => {
    expect(broken([0, 60_000, 120_000, 600_000], [1, 2, 3, 4], "1m").map(([, value]) => value)).toEqual([1, 2, 3, null, 4]);
  });

  it("hold together where a meter has sent averages between single readings", () => {
    const t = [0, 300_000, 600_000, 601_000, 602_000];
    expect(broken(t, [1, 1, 1, 1, 1], "raw").some(([, value]) => value === null)).toBe(false);
  });

  it("show holes once, within the span", () => {
    const found = holes([0, 60_000, 600_000], [{ from: 100_000, to: 500_000, state: "final" }], "1m", [0, 550_000], 1000);
    expect(found).toEqual([[100_000, 550_000]]);
    const apart = holes([0, 60_000, 600_000], [], "1m", [0, 700_000], 1000);
    expect(apart).toEqual([[120_000, 600_000]]);
  });
});
