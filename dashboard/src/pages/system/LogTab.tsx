/** The end of the gateway's log. */

import { useQuery } from "@/api/query";
import type { LogLine, Page as Paged } from "@/api/types";
import { t } from "@/i18n";
import { useKept } from "@/lib/kept";
import { when } from "@/lib/format";
import { Badge, Button, Card, Select } from "@/ui/basics";
import { Shown } from "@/ui/feedback";

const LEVELS = ["debug", "info", "warning", "error"] as const;
const LINES = 300;

export function LogTab() {
  const [level, setLevel] = useKept<string>("log.level", "info");
  const log = useQuery<Paged<LogLine>>("system/log", { params: { lines: LINES, level }, everyMs: 5000 });
  return (
    <Card
      title={t("system.log")}
      actions={
        <>
          <Select compact label={t("log.level")} value={level} options={LEVELS.map((value) => ({ value, label: t(`log.level.${value}`) }))} onChange={setLevel} />
          <Button small onClick={log.reload}>{t("log.refresh")}</Button>
        </>
      }
    >
      <Shown query={log}>
        {(data) => data.items.length === 0 ? <p className="muted">{t("log.none")}</p> : (
          <ol className="log" reversed>
            {[...data.items].reverse().map((line, n) => (
              <li key={`${line.at_ms}/${n}`}>
                <span className="mono muted">{when(line.at_ms, "seconds")}</span>
                {line.level !== "info" && <Badge mood={line.level === "error" || line.level === "critical" ? "critical" : line.level === "warning" ? "warning" : "silent"}>{line.level}</Badge>}
                <b className="small">{line.event.replaceAll("_", " ")}</b>
                <span className="mono">{line.text}</span>
              </li>
            ))}
          </ol>
        )}
      </Shown>
    </Card>
  );
}
