import { describe, expect, it } from "vitest";
import type { Energy, Meter, SiteNode } from "@/api/types";
import { ageOf, flowOf, inBoth, split, topMeters, totalsOf } from "@/lib/house";

const NOW = 1_760_000_000_000;

function meter(id: string, ageMs: number, powers: Record<string, number | null>): Meter {
  const ch = Object.fromEntries(Object.entries(powers).map(([name, p]) => [name, { i: 1, p, q: 0, v: null, wh_in: 0, wh_out: 0 }]));
  const role = (name: string) => (name === "grid" || name === "solar" ? name : "load");
  return {
    id, label: "", recorded: false, registered: 0, online: true, state_at: null, versions: { fw: null, model: null, cal: null }, diagnostics: null,
    channels: Object.fromEntries(Object.keys(powers).map((name) => [name, { role: role(name), rating_a: null }])),
    last: { t: NOW - ageMs, dt: 1000, v: 230, f: 50, ch, flags: [] },
  };
}

describe("the flow of power", () => {
  it("sends what the house does not use to the grid", () => {
    expect(split(-600, 2000)).toEqual({ fromGrid: 0, fromSolar: 1400, exported: 600, house: 1400 });
    expect(split(300, 0)).toEqual({ fromGrid: 300, fromSolar: 0, exported: 0, house: 300 });
  });

  it("counts a battery's export at night as no sun of the house", () => {
    expect(split(-500, 0).fromSolar).toBe(0);
  });

  it("leaves silent meters out of the sum and says so", () => {
    const flow = flowOf([meter("a", 1000, { grid: 500, load1: 200 }), meter("b", 600_000, { grid: 900 })], NOW);
    expect(flow.grid).toBe(500);
    expect(flow.left_out).toBe(1);
    expect(flow.loads).toEqual([{ meter: "a", channel: "load1", watts: 200 }]);
  });

  it("keeps what is not measured apart from zero", () => {
    expect(flowOf([meter("a", 1000, { grid: null })], NOW).house).toBeNull();
  });

  it("tells fresh from old, by the length of the windows", () => {
    expect(ageOf(meter("a", 5000, { grid: 1 }), NOW)).toBe("fresh");
    expect(ageOf(meter("a", 60_000, { grid: 1 }), NOW)).toBe("aging");
    expect(ageOf(meter("a", 300_000, { grid: 1 }), NOW)).toBe("old");
    const slow = meter("a", 300_000, { grid: 1 });
    expect(ageOf({ ...slow, last: slow.last && { ...slow.last, dt: 900_000 } }, NOW)).toBe("fresh");
  });
});

describe("meters behind others", () => {
  it("are not counted twice", () => {
    const node = (id: string, parent: string | null, of: string | null): SiteNode => ({ id, name: id, kind: "meter", parent, meter: of, channel: null });
    const meters = [meter("main", 0, { grid: 1 }), meter("sub", 0, { grid: 1 }), meter("other", 0, { grid: 1 })];
    const nodes = [node("1", null, "main"), node("2", "1", null), node("3", "2", "sub")];
    expect(topMeters(meters, nodes).map((one) => one.id)).toEqual(["main", "other"]);
  });
});

describe("totals", () => {
  const home = meter("a", 0, { grid: 1, solar: 1 });
  const cost = { currency: "EUR", import: 1, feed_in: 0, standing: 0, total: 1.5, estimated: false, complete: true, basis: "grid" };
  const energy = (currency: string): Energy => ({
    by: "day", timezone: "UTC", items: [{
      from: 0, to: 1, partial: false, channels: { grid: { kwh_in: 2, kwh_out: 1, estimated: false }, solar: { kwh_in: 4, kwh_out: 0, estimated: false } },
      solar: { generated_kwh: 4, self_consumed_kwh: 3, exported_kwh: 1, imported_kwh: 2, consumed_kwh: 5, self_consumption: 0.75, self_sufficiency: 0.6 },
      cost: { ...cost, currency },
    }],
  });

  it("divide sums, not shares", () => {
    const sum = totalsOf([{ meter: home, energy: energy("EUR") }, { meter: home, energy: energy("EUR") }]);
    expect([sum.used, sum.selfConsumption, sum.selfSufficiency, sum.cost]).toEqual([10, 0.75, 0.6, 3]);
  });

  it("compare what both spans have whole", () => {
    const [one] = energy("EUR").items;
    if (!one) throw new Error("no interval");
    const empty = { ...one, channels: { grid: { kwh_in: null, kwh_out: null, estimated: false } }, solar: null };
    const now = { ...energy("EUR"), items: [one, one, one, { ...one, partial: true }] };
    const [kept, before] = inBoth(home, now, { ...now, items: [one, empty, one, one] });
    expect([kept.items.length, before.items.length]).toEqual([2, 2]);
    expect(inBoth(home, now, { ...now, items: [one] })[0].items).toHaveLength(1);
  });

  it("never add up two currencies", () => {
    expect(totalsOf([{ meter: home, energy: energy("EUR") }, { meter: home, energy: energy("USD") }]).cost).toBeNull();
  });
});
