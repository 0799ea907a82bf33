import { describe, expect, it } from "vitest";
import type { Energy, Meter, SiteNode } from "@/api/types";
import { ageOf, countedOf, flowOf, inBoth, split, totalsOf } from "@/lib/house";

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

function node(id: string, parent: string | null, of: string | null, channel: string | null = null): SiteNode {
  return { id, name: id, kind: "meter", parent, meter: of, channel };
}

describe("meters behind others", () => {
  it("are not counted twice", () => {
    const meters = [meter("main", 0, { grid: 1 }), meter("sub", 0, { grid: 1 }), meter("other", 0, { grid: 1 })];
    const nodes = [node("1", null, "main"), node("2", "1", null), node("3", "2", "sub")];
    expect(countedOf(meters, nodes).map((one) => one.id)).toEqual(["main", "other"]);
  });

  it("stand for themselves where the one above is not shown", () => {
    const sub = meter("sub", 0, { grid: 1 });
    expect(countedOf([sub], [node("1", null, "gone"), node("2", "1", "sub")])).toEqual([sub]);
  });

  it("keep their loads among what is shown, and their sun in the sum", () => {
    const meters = [meter("main", 1000, { grid: 500, load1: 400 }), meter("sub", 1000, { grid: 100, load1: 90 }), meter("roof", 1000, { solar: 800 })];
    const nodes = [node("1", null, "main"), node("2", "1", "sub"), node("3", "1", "roof")];
    const flow = flowOf(meters, NOW, nodes);
    expect([flow.grid, flow.solar, flow.house, flow.known]).toEqual([500, 800, 1300, 490]);
    expect(flow.loads.map((load) => load.meter)).toEqual(["main", "sub"]);
    expect(countedOf(meters, nodes).map((one) => one.id)).toEqual(["main", "roof"]);
  });

  it("tell of a measured load's parts without adding them to it", () => {
    const meters = [meter("main", 1000, { grid: 500, load1: 400 }), meter("sub", 1000, { load1: 90 })];
    const flow = flowOf(meters, NOW, [node("1", null, "main"), node("2", "1", "main", "load1"), node("3", "2", "sub")]);
    expect([flow.loads.length, flow.known]).toEqual([2, 400]);
  });

  it("are no reason to call the house's sum short when they fall silent", () => {
    const meters = [meter("main", 1000, { grid: 500 }), meter("sub", 600_000, { load1: 90 })];
    expect(flowOf(meters, NOW).left_out).toBe(0);
    expect(flowOf([...meters, { ...meter("new", 0, {}), last: null }], NOW).left_out).toBe(1);
  });
});

describe("totals", () => {
  const home = meter("a", 0, { grid: 1, solar: 1 });
  const cost = { currency: "EUR", import: 1, feed_in: 0, standing: 0, total: 1.5, estimated: false, complete: true, basis: "grid" as const };
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

describe("totals of several meters", () => {
  type Kwh = Record<string, [number | null, number | null]>;
  const day = (kwh: Kwh, cost: ["grid" | "load", number, number] | null, solar: Energy["items"][number]["solar"] = null): Energy => ({
    by: "day", timezone: "UTC", items: [{
      from: 0, to: 1, partial: false, solar,
      channels: Object.fromEntries(Object.entries(kwh).map(([name, [kwh_in, kwh_out]]) => [name, { kwh_in, kwh_out, estimated: false }])),
      cost: cost && { currency: "EUR", import: cost[1], feed_in: 0, standing: cost[2], total: cost[1] + cost[2], estimated: false, complete: true, basis: cost[0] },
    }],
  });
  const main = { meter: meter("main", 0, { grid: 1 }), energy: day({ grid: [10, 0] }, ["grid", 3, 0.5]) };
  const sub = { meter: meter("sub", 0, { load1: 1 }), energy: day({ load1: [4, 0] }, ["load", 1.2, 0]) };

  it("leave the loads to the grid's meter", () => {
    const sum = totalsOf([main, sub]);
    expect([sum.used, sum.imported, sum.cost]).toEqual([10, 10, 3.5]);
  });

  it("are the loads' own where no meter is at the grid", () => {
    const lower = { ...sub, meter: { ...sub.meter, id: "lower" } };
    const sum = totalsOf([sub, lower], [node("1", null, "sub"), node("2", "1", "lower")]);
    expect([sum.used, sum.cost]).toEqual([4, 1.2]);
  });

  it("join the sun of another meter", () => {
    const grid = { meter: main.meter, energy: day({ grid: [6, 3] }, ["grid", 2, 0]) };
    const roof = { meter: meter("roof", 0, { solar: 1 }), energy: day({ solar: [8, 0] }, null) };
    for (const nodes of [[], [node("1", null, "main"), node("2", "1", "roof")]]) {
      const sum = totalsOf([grid, roof], nodes);
      expect([sum.used, sum.generated, sum.selfUsed, sum.selfConsumption, sum.cost]).toEqual([11, 8, 5, 5 / 8, 2]);
    }
    expect(totalsOf([grid, { ...roof, energy: day({ solar: [1, 0] }, null) }]).selfUsed).toBe(0);
  });

  it("do not tell what was used where the other meter's sun is not known", () => {
    const roof = { meter: meter("roof", 0, { solar: 1 }), energy: day({ solar: [null, null] }, null) };
    const sum = totalsOf([main, roof]);
    expect([sum.used, sum.selfUsed, sum.imported]).toEqual([null, null, 10]);
  });

  it("count a sub-meter's own sun against the house's export", () => {
    const grid = { meter: main.meter, energy: day({ grid: [6, 2] }, ["grid", 2, 0]) };
    const annex = {
      meter: meter("annex", 0, { grid: 1, solar: 1 }),
      energy: day({ grid: [1, 3], solar: [5, 0] }, ["grid", 9, 9], {
        generated_kwh: 5, self_consumed_kwh: 2, exported_kwh: 3, imported_kwh: 1, consumed_kwh: 3, self_consumption: 0.4, self_sufficiency: 0.7,
      }),
    };
    const sum = totalsOf([grid, annex], [node("1", null, "main"), node("2", "1", "annex")]);
    expect([sum.imported, sum.exported, sum.selfUsed, sum.used, sum.cost]).toEqual([6, 2, 3, 9, 2]);
  });

  it("pay the standing charge once", () => {
    const phases = ["l1", "l2", "l3"].map((id) => ({ meter: meter(id, 0, { grid: 1 }), energy: day({ grid: [2, 0] }, ["grid", 1, 0.4]) }));
    expect(totalsOf(phases).cost).toBeCloseTo(3.4, 9);
  });
});
