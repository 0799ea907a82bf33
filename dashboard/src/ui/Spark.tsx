/** A small chart of a day, drawn without the chart library so that the first page is light. */

import { useLayoutEffect, useRef, useState } from "react";
import { broken, type Point } from "@/lib/line";
import type { Resolution } from "@/api/types";

export interface SparkLine { values: (number | null)[]; kind: "home" | "solar" }
interface Props { t: number[]; lines: SparkLine[]; resolution: Resolution; from: number; to: number; labels: { at: number; text: string }[]; text: string; scale: (value: number) => string }

const LEAST = { width: 120, height: 168 };
const FOOT = 22;

/** A round number at or above: 1, 2, 2.5, 5 or 10 times a power of ten. */
export function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return power * ([1, 2, 2.5, 5, 10].find((step) => step * power >= value) ?? 10);
}

function pieces(points: readonly Point[]): Point[][] {
  const found: Point[][] = [[]];
  for (const point of points) {
    if (point[1] === null) found.push([]);
    else found.at(-1)?.push(point);
  }
  return found.filter((piece) => piece.length > 0);
}

export function Spark({ t, lines, resolution, from, to, labels, text, scale }: Props) {
  const [box, { width, height }] = useSize();
  const drawn = lines.map((line) => ({ kind: line.kind, pieces: pieces(broken(t, line.values, resolution)) }));
  const most = roundUp(Math.max(100, ...lines.flatMap((line) => line.values.map((v) => v ?? 0))));
  const least = Math.min(0, ...lines.flatMap((line) => line.values.map((v) => v ?? 0)));
  const x = (at: number): number => ((at - from) / (to - from)) * width;
  const y = (value: number): number => (height - FOOT) * (1 - (value - least) / (most - least)) + 1;
  const path = (piece: readonly Point[]): string =>
    piece.map(([at, value], n) => `${n ? "L" : "M"}${x(at).toFixed(1)} ${y(value ?? 0).toFixed(1)}`).join("");
  const area = (piece: readonly Point[]): string => {
    const first = piece[0]?.[0] ?? from;
    const last = piece.at(-1)?.[0] ?? to;
    return `${path(piece)}L${x(last).toFixed(1)} ${y(0).toFixed(1)}L${x(first).toFixed(1)} ${y(0).toFixed(1)}Z`;
  };
  return (
    <div ref={box} className="spark">
      <svg width={width} height={height} role="img" aria-label={text}>
        {[most, most / 2].map((value) => (
          <g key={value}>
            <line x1="0" x2={width} y1={y(value)} y2={y(value)} className="spark-grid" />
          </g>
        ))}
        {drawn.map(({ kind, pieces: parts }) => parts.map((piece, n) => (
          <g key={`${kind}${n}`} className={`spark-${kind}`}>
            <path d={area(piece)} className="spark-area" />
            <path d={path(piece)} className="spark-line" />
          </g>
        )))}
        <line x1="0" x2={width} y1={y(0)} y2={y(0)} className="spark-base" />
        {[most, most / 2].map((value) => <text key={value} x="0" y={y(value) + 13} className="spark-text spark-scale">{scale(value)}</text>)}
        {labels.map(({ at, text: label }) => (
          <text key={at} x={x(at)} y={height - 4} className="spark-text" textAnchor={x(at) < 20 ? "start" : x(at) > width - 20 ? "end" : "middle"}>{label}</text>
        ))}
      </svg>
    </div>
  );
}

interface Size { width: number; height: number }

/** The room there is: known before the first picture, and followed. */
function useSize(): [React.RefObject<HTMLDivElement | null>, Size] {
  const box = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState<Size>(LEAST);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const look = (): void => setSize({ width: Math.max(LEAST.width, element.clientWidth), height: Math.max(LEAST.height, element.clientHeight) });
    look();
    const watch = new ResizeObserver(look);
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  return [box, size];
}
