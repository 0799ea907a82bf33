/** Parts of charts that all of them share. Times on axes are the site's wall time as if it were UTC. */

import { font, token } from "@/lib/theme";
import type { Option } from "@/ui/Chart";

const FONT = 12;

export function text(): Option {
  return { color: token("muted"), fontFamily: font(), fontSize: FONT };
}

export function timeAxis(min: number, max: number): Option {
  return {
    type: "time", min, max, axisLabel: { ...text(), hideOverlap: true }, splitLine: { show: false },
    axisLine: { lineStyle: { color: token("line") } }, axisTick: { show: false },
  };
}

export function namesAxis(names: readonly string[]): Option {
  return {
    type: "category", data: names, axisLabel: { ...text(), hideOverlap: true },
    axisLine: { lineStyle: { color: token("line") } }, axisTick: { show: false },
  };
}

export function valueAxis(format: (value: number) => string, more: Option = {}): Option {
  return {
    type: "value", axisLabel: { ...text(), formatter: format }, splitLine: { lineStyle: { color: token("line"), type: [2, 4] } }, ...more,
  };
}

export interface TipRow { name: string; value: string; color: string }

/** A tooltip made of elements: the page's policy allows no styles in markup. */
export function tip(head: string, rows: readonly TipRow[]): HTMLElement {
  const box = document.createElement("div");
  box.className = "chart-tip";
  box.append(part("div", head, "chart-tip-head"));
  for (const row of rows) {
    const line = part("div", "", "chart-tip-row");
    const mark = part("i", "");
    mark.style.background = row.color;
    line.append(mark, part("span", row.name), part("b", row.value));
    box.append(line);
  }
  return box;
}

function part(tag: string, words: string, name = ""): HTMLElement {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = words;
  return element;
}

interface TipItem { dataIndex: number; axisValue: number | string; seriesId?: string; value: unknown; color: unknown }

export function tooltip(formatter: (items: TipItem[]) => HTMLElement | string): Option {
  return {
    trigger: "axis", confine: true, transitionDuration: 0.1, padding: [10, 14],
    backgroundColor: token("raised"), borderColor: token("line"), textStyle: { color: token("text") },
    axisPointer: { type: "line", lineStyle: { color: token("edge"), type: "solid" } },
    formatter: (items: unknown) => formatter(items as TipItem[]),
  };
}

export function frame(): Option {
  return { left: 8, right: 12, top: 16, bottom: 8, containLabel: true };
}

export function hatched(spans: readonly [number, number][], name: string, whole: number): Option {
  return {
    silent: true, itemStyle: { color: token("hatch") },
    label: { ...text(), position: "insideTop", fontSize: 11 },
    data: spans.map(([from, to]) => [{ xAxis: from, name: to - from > whole / 12 ? name : "" }, { xAxis: to }]),
  };
}
