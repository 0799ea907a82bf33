/** Who did what. */

import { useState } from "react";
import { get } from "@/api/client";
import { useQuery } from "@/api/query";
import type { AuditEntry, Page as Paged } from "@/api/types";
import { t } from "@/i18n";
import { when } from "@/lib/format";
import { Button, Card, Scroll } from "@/ui/basics";
import { attempt, Shown } from "@/ui/feedback";

export function AuditTab() {
  const first = useQuery<Paged<AuditEntry>>("audit", { params: { limit: 100 } });
  const [more, setMore] = useState<AuditEntry[]>([]);
  const [next, setNext] = useState<string | null | undefined>(undefined);
  const load = (cursor: string): void => {
    void attempt(async () => {
      const page = await get<Paged<AuditEntry>>("audit", { limit: 100, cursor });
      setMore((held) => [...held, ...page.items]);
      setNext(page.next);
    });
  };
  return (
    <Card title={t("system.audit")}>
      <Shown query={first}>
        {(data) => {
          const cursor = next === undefined ? data.next : next;
          return (
            <>
              <Scroll>
                <table className="table">
                  <thead><tr><th scope="col">{t("audit.when")}</th><th scope="col">{t("audit.who")}</th><th scope="col">{t("audit.what")}</th></tr></thead>
                  <tbody>
                    {[...data.items, ...more].map((entry, n) => (
                      <tr key={`${entry.at}/${n}`}>
                        <td>{when(entry.at)}</td><td>{entry.who}</td><td>{entry.what.replaceAll("_", " ")} <span className="muted small">{entry.detail}</span></td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </Scroll>
              {cursor !== null && <Button onClick={() => load(cursor)}>{t("act.more")}</Button>}
            </>
          );
        }}
      </Shown>
    </Card>
  );
}
