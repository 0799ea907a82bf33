/** A chart of the library, in the page's colours; it is loaded only with the pages that draw. */

import { BarChart, LineChart } from "echarts/charts";
import { DataZoomComponent, GridComponent, MarkAreaComponent, TooltipComponent } from "echarts/components";
import * as core from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useEffect, useImperativeHandle, useRef, type Ref } from "react";
import { useStore } from "@/lib/store";
import { paint, token } from "@/lib/theme";

core.use([BarChart, LineChart, DataZoomComponent, GridComponent, MarkAreaComponent, TooltipComponent, CanvasRenderer]);

export type Option = Record<string, unknown>;
export interface ChartHandle { png: () => string; zoomTo: (from: number, to: number) => void }
interface Props {
  option: Option;
  label: string;
  onZoom?: (from: number, to: number) => void;
  handle?: Ref<ChartHandle>;
  className?: string;
}

export default function Chart({ option, label, onZoom, handle, className = "" }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<core.ECharts | null>(null);
  const painted = useStore(paint);
  const zoomed = useRef(onZoom);
  useEffect(() => {
    zoomed.current = onZoom;
  });
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const made = core.init(element);
    chart.current = made;
    made.on("datazoom", () => {
      const [zoom] = (made.getOption().dataZoom ?? []) as { startValue?: number; endValue?: number }[];
      if (zoom?.startValue !== undefined && zoom.endValue !== undefined) zoomed.current?.(zoom.startValue, zoom.endValue);
    });
    const watch = new ResizeObserver(() => made.resize());
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.dispose();
      chart.current = null;
    };
  }, []);
  useEffect(() => {
    chart.current?.setOption(option, { replaceMerge: ["series", "xAxis", "yAxis"] });
  }, [option, painted]);
  useImperativeHandle(handle, () => ({
    png: () => chart.current?.getDataURL({ pixelRatio: 2, backgroundColor: token("surface") }) ?? "",
    zoomTo: (from, to) => chart.current?.dispatchAction({ type: "dataZoom", startValue: from, endValue: to }),
  }), []);
  return <div ref={box} className={`chart ${className}`} role="img" aria-label={label} />;
}
