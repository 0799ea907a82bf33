/** The tree drawn from left to right; on a phone as an indented list. */

import type { NodeKind, NodeState, SiteNode } from "@/api/types";
import { t } from "@/i18n";
import { powerText } from "@/lib/format";
import { MOODS } from "@/pages/site/SitePage";
import { childrenOf, place } from "@/pages/site/tree";
import { Dot, IconButton, Link } from "@/ui/basics";
import { Icon, type IconName } from "@/ui/icons";

const ICONS: Record<NodeKind, IconName> = { transformer: "transformer", feeder: "feeder", group: "group", meter: "meters" };
const BOX = { width: 236, height: 92, across: 300, down: 112 };

interface Props {
  nodes: readonly SiteNode[];
  states: readonly NodeState[];
  editing: boolean;
  onEdit: (node: SiteNode) => void;
  onAdd: (parent: string) => void;
}

export function SiteDrawing(props: Props) {
  const { placed, rows, depth } = place(props.nodes);
  const at = new Map(placed.map((one) => [one.node.id, one]));
  const states = new Map(props.states.map((state) => [state.id, state]));
  const width = depth * BOX.across + BOX.width;
  const height = Math.max(1, rows) * BOX.down;
  const middle = (row: number): number => row * BOX.down + BOX.height / 2 + 4;
  return (
    <>
      <div className="site-drawing" style={{ width, height }} role="group" aria-label={t("site.tree")}>
        <svg width={width} height={height} aria-hidden="true">
          {placed.map(({ node, row, depth: column }) => {
            const parent = node.parent === null ? undefined : at.get(node.parent);
            if (!parent) return null;
            const [x1, y1, x2, y2] = [parent.depth * BOX.across + BOX.width, middle(parent.row), column * BOX.across, middle(row)];
            const bend = (x1 + x2) / 2;
            return <path key={node.id} className={`site-wire site-wire-${states.get(node.id)?.state ?? "silent"}`} d={`M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}`} />;
          })}
        </svg>
        {placed.map(({ node, row, depth: column }) => (
          <div key={node.id} className="site-place" style={{ left: column * BOX.across, top: middle(row) - BOX.height / 2, width: BOX.width, height: BOX.height }}>
            <Box {...props} node={node} state={states.get(node.id)} />
            {node.parent !== null && <span className="unseen">{t("site.parent")} {at.get(node.parent)?.node.name}</span>}
          </div>
        ))}
      </div>
      <SiteList {...props} byId={states} parent={null} />
    </>
  );
}

function SiteList({ parent, byId, ...props }: Props & { parent: string | null; byId: Map<string, NodeState> }) {
  return (
    <ul className="site-list" aria-label={parent === null ? t("site.tree") : undefined}>
      {childrenOf(props.nodes, parent).map((node) => (
        <li key={node.id}>
          <Box {...props} node={node} state={byId.get(node.id)} />
          {childrenOf(props.nodes, node.id).length > 0 && <SiteList {...props} byId={byId} parent={node.id} />}
        </li>
      ))}
    </ul>
  );
}

function Box({ node, state, editing, onEdit, onAdd }: Props & { node: SiteNode; state: NodeState | undefined }) {
  const name = state?.state;
  const word = t(name ? `site.state.${name}` : "site.state.unknown");
  return (
    <div className={`site-box site-box-${name ?? "silent"}`}>
      <Icon name={ICONS[node.kind]} size={22} />
      <div className="grow">
        <p className="row site-name">
          {node.meter !== null && !editing ? <Link to={`/meters/${node.meter}`} className="cut">{node.name}</Link> : <b className="cut">{node.name}</b>}
        </p>
        <p className="site-power">{powerText(state?.p_w)}</p>
        <p className="small muted row"><Dot mood={name ? MOODS[name] : "silent"} /><span className="cut">{word}{node.meter !== null && sums(state)}</span></p>
      </div>
      {editing && (
        <span className="site-acts">
          <IconButton icon="edit" label={`${t("act.edit")}: ${node.name}`} onClick={() => onEdit(node)} />
          <IconButton icon="plus" label={`${t("site.add")}: ${node.name}`} onClick={() => onAdd(node.id)} />
        </span>
      )}
    </div>
  );
}

function sums(state: NodeState | undefined): string {
  if (state?.difference_w === null || state?.difference_w === undefined || state.children_p_w === null) return "";
  return ` · ${t("site.difference", { difference: powerText(state.difference_w) })}`;
}
