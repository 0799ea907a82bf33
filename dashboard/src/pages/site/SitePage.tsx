/** The site: transformer, feeders and meters as a tree, coloured by state. */

import { useState } from "react";
import { ApiError, send } from "@/api/client";
import { live } from "@/api/live";
import { useQuery } from "@/api/query";
import { useMay } from "@/api/session";
import type { NodeState, NodeStateName, Page as Paged, SiteNode, SiteTree } from "@/api/types";
import { t } from "@/i18n";
import { useStore } from "@/lib/store";
import { NodeDialog } from "@/pages/site/NodeDialog";
import { SiteDrawing } from "@/pages/site/SiteDrawing";
import { firstTree, freshId, without } from "@/pages/site/tree";
import { Button, Card, Dot, Empty, Page, type Mood } from "@/ui/basics";
import { note, Shown, wordsOf } from "@/ui/feedback";

const STATE_EVERY_MS = 3000;
export const MOODS: Record<NodeStateName, Mood> = { normal: "ok", warning: "warning", critical: "critical", silent: "silent" };

export default function SitePage() {
  const tree = useQuery<SiteTree>("site/tree");
  return <Page title={t("site.title")} lead={t("site.lead")}><Shown query={tree}>{(data) => <Site tree={data} reload={tree.reload} />}</Shown></Page>;
}

function Site({ tree, reload }: { tree: SiteTree; reload: () => void }) {
  const { meters } = useStore(live);
  const states = useQuery<Paged<NodeState>>("site/state", { everyMs: STATE_EVERY_MS });
  const mayEdit = useMay("operator");
  const [editing, setEditing] = useState(false);
  const [chosen, setChosen] = useState<SiteNode | null>(null);
  const save = async (nodes: SiteNode[]): Promise<void> => {
    try {
      await send("PUT", "site/tree", { nodes, version: tree.version });
      note(t("done.saved"));
      setChosen(null);
      states.reload();
    } catch (error) {
      note(error instanceof ApiError && error.status === 409 ? t("site.conflict") : wordsOf(error), true);
    }
    reload();
  };
  if (tree.nodes.length === 0) {
    const sending = Object.values(meters).filter((meter) => !meter.recorded);
    return (
      <Card>
        <Empty icon="site" title={t("site.none")}>
          <p>{t("site.none.hint")}</p>
          {mayEdit && <Button tone="primary" onClick={() => void save(firstTree(sending, t("site.kind.transformer")))}>{t("site.start")}</Button>}
        </Empty>
      </Card>
    );
  }
  const add = (parent: string | null): void => setChosen({ id: freshId(tree.nodes), name: "", kind: parent === null ? "transformer" : "meter", parent, meter: null, channel: null });
  return (
    <Card
      title={t("site.tree")}
      actions={
        <>
          <Legend />
          {mayEdit && editing && <Button small icon="plus" onClick={() => add(null)}>{t("site.add.top")}</Button>}
          {mayEdit && <Button small icon={editing ? "check" : "edit"} onClick={() => setEditing(!editing)}>{t(editing ? "site.done" : "site.edit")}</Button>}
        </>
      }
    >
      <SiteDrawing nodes={tree.nodes} states={states.data?.items ?? []} editing={editing} onEdit={setChosen} onAdd={add} />
      {chosen && (
        <NodeDialog
          node={chosen} nodes={tree.nodes} meters={Object.values(meters)} onClose={() => setChosen(null)}
          onSave={(node) => save([...tree.nodes.filter((one) => one.id !== node.id), node].sort((a, b) => order(tree.nodes, a) - order(tree.nodes, b)))}
          onRemove={(node) => save(without(tree.nodes, node.id))}
        />
      )}
    </Card>
  );
}

function order(nodes: readonly SiteNode[], node: SiteNode): number {
  const at = nodes.findIndex((one) => one.id === node.id);
  return at < 0 ? nodes.length : at;
}

function Legend() {
  return (
    <ul className="legend" aria-label={t("site.legend")}>
      {(Object.keys(MOODS) as NodeStateName[]).map((name) => <li key={name}><Dot mood={MOODS[name]} />{t(`site.state.${name}`)}</li>)}
    </ul>
  );
}
