// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { EventParser } from "@/api/events";
import { takeAlert, takeAll, takeReading, takeState, type Live } from "@/api/live";
import type { Alert, Meter, MeterState, ReadingEvent } from "@/api/types";
import { en } from "@/i18n/en";
import { fill } from "@/i18n";
import { kwh, NONE, number, power } from "@/lib/format";
import { csv } from "@/pages/history/exports";
import { factorOf, fieldOf, mapOf, meaningsOf, targetOf, unitOf, UNITS } from "@/pages/import/columns";
import { below, firstTree, freshId, place, without } from "@/pages/site/tree";
import { cover, flat, isFlat, isWhole } from "@/pages/tariffs/plans";

describe("events", () => {
  it("are cut wherever the network cuts them", () => {
    const parser = new EventParser();
    const text = 'retry: 3000\n\nid: 7\nevent: reading\ndata: {"a":\ndata: 1}\n\n: still here\n\n';
    const found = Array.from(text).flatMap((letter) => [...parser.push(letter)]);
    expect(found).toEqual([{ id: "7", event: "reading", data: '{"a":\n1}' }, { id: null, event: "", data: "" }]);
  });

  it("of unknown meters wait for their state", () => {
    const empty: Live = { meters: {}, alerts: {}, loaded: true };
    const reading: ReadingEvent = { meter: "a", boot: 1, seq: 1, t: 5, dt: 1000, v: 230, f: 50, ch: {}, flags: [] };
    expect(takeReading(empty, reading)).toBe(empty);
    const state: MeterState = { id: "a", label: "", recorded: false, registered: 0, online: true, state_at: null, versions: { fw: null, model: null, cal: null }, diagnostics: null, channels: {} };
    const known = takeReading(takeState(empty, state), reading);
    expect(known.meters.a?.last?.t).toBe(5);
    expect(takeState(known, { ...state, label: "A" }).meters.a?.last?.t).toBe(5);
    const alert = { id: "x", state: "open", updated: 1 } as Alert;
    expect(takeAlert(takeAlert(known, alert), { ...alert, state: "resolved" }).alerts.x?.state).toBe("resolved");
  });
});

describe("a fresh start", () => {
  it("drops what the gateway has no more, and keeps the newer reading", () => {
    const meter = (id: string, t: number) => ({ id, last: { t } }) as Meter;
    const alert = { id: "x", state: "open" } as Alert;
    const state: Live = { meters: { a: meter("a", 9), gone: meter("gone", 9) }, alerts: { x: alert, undone: { ...alert, id: "undone" } }, loaded: true };
    const after = takeAll(state, [meter("a", 5)], [alert]);
    expect([Object.keys(after.meters), Object.keys(after.alerts), after.meters.a?.last?.t]).toEqual([["a"], ["x"], 9]);
  });
});

describe("words and numbers", () => {
  it("have a plural, and leave unknown places alone", () => {
    expect(fill(en["time.days"], { n: 1 })).toBe("1 day");
    expect(fill(en["time.days"], { n: 3 })).toBe("3 days");
    expect(fill("{a} {b}", { a: 1 })).toBe("1 {b}");
  });

  it("never show nothing as zero, nor a negative zero", () => {
    expect(number(null)).toBe(NONE);
    expect(number(-0.2)).toBe("0");
    expect(power(1234)).toEqual({ value: "1.23", unit: "kW" });
    expect(power(-61).value).toBe("−61"); // a minus, as wide as a plus
    expect(power(undefined).value).toBe(NONE);
    expect(kwh(123.4)).toBe("123");
  });

  it("quote what a table needs quoted", () => {
    expect(csv([["a", 'b"c', "d,e", null, 1.5]])).toBe('a,"b""c","d,e",,1.5\r\n');
  });
});

describe("columns of an import", () => {
  it("come back as they were told", () => {
    const map = { p: "p_kw:1000", v: "u", "l2.i": "i2:0.001", q: "a-b" };
    expect(mapOf(meaningsOf(map))).toEqual(map);
  });

  it("turn energy of each row into power", () => {
    const unit = UNITS.p.find((one) => one.name === "kWh");
    expect(unit && factorOf(unit, 900)).toBe(4000);
    expect(unitOf("p", 4000, 900)?.name).toBe("kWh");
    expect(unitOf("l2.v", 1, null)?.name).toBe("V");
    expect(targetOf("p", "kwh")).toBe("p");
    expect(targetOf("temp", "oti")).toBe("aux.oti_temp");
    expect(targetOf("temp", "2. Öl-Temperatur °C")).toBe("aux.l_temperatur_c");
    expect(targetOf("temp", "°C")).toBe("aux.c_temp");
    expect(targetOf("temp", "温度")).toBe("aux.oil_temp");
    expect(fieldOf("aux.oti_temp")).toBe("temp");
    expect(fieldOf("aux.oil_level")).toBeNull();
    expect(unitOf("aux.oti_temp", 1, 900)?.name).toBe("°C");
    expect(unitOf("p", 7, null)).toBeUndefined();
  });
});

describe("prices", () => {
  it("cover the week once", () => {
    expect(isFlat(flat(0.2))).toBe(true);
    const night = { days: [0, 1, 2, 3, 4, 5, 6], from: "22:00", to: "08:00", price_per_kwh: 0.1 };
    const day = { days: [0, 1, 2, 3, 4, 5, 6], from: "08:00", to: "22:00", price_per_kwh: 0.3 };
    expect(isWhole([night, day])).toBe(true);
    expect(isWhole([night, { ...day, days: [0] }])).toBe(false);
    expect(cover([night, day])[0]).toEqual([0]); // Monday's first quarter is Sunday's night
  });
});

describe("the site's tree", () => {
  const nodes = firstTree([{ id: "a", label: "" }, { id: "b", label: "B" }], "Top");

  it("stands a parent in the middle of its children", () => {
    expect(place(nodes).placed.map(({ node, depth, row }) => [node.name, depth, row])).toEqual([["Top", 0, 0.5], ["a", 1, 0], ["B", 1, 1]]);
  });

  it("moves children up, and lets nobody hang below itself", () => {
    expect(without(nodes, "n1").every((node) => node.parent === null)).toBe(true);
    expect([...below(nodes, "n1")].sort()).toEqual(["n1", "n2", "n3"]);
    expect(freshId(nodes)).toBe("n4");
  });
});
