/** Where each part of the site is drawn: columns by depth, a row for each leaf. */

import type { Meter, SiteNode } from "@/api/types";

export interface Placed { node: SiteNode; depth: number; row: number; children: number }

export function childrenOf(nodes: readonly SiteNode[], parent: string | null): SiteNode[] {
  return nodes.filter((node) => node.parent === parent);
}

/** Depth first; a parent stands in the middle of its children. Nodes of a circle are left out. */
export function place(nodes: readonly SiteNode[]): { placed: Placed[]; rows: number; depth: number } {
  const placed: Placed[] = [];
  let rows = 0;
  let deepest = 0;
  const visit = (node: SiteNode, depth: number): number => {
    deepest = Math.max(deepest, depth);
    const at = placed.push({ node, depth, row: 0, children: 0 }) - 1;
    const below = childrenOf(nodes, node.id).map((child) => visit(child, depth + 1));
    const row = below.length === 0 ? rows++ : ((below[0] ?? 0) + (below.at(-1) ?? 0)) / 2;
    placed[at] = { node, depth, row, children: below.length };
    return row;
  };
  for (const root of childrenOf(nodes, null)) visit(root, 0);
  return { placed, rows, depth: deepest };
}

/** The parts that a node may not hang below: itself and what hangs below it. */
export function below(nodes: readonly SiteNode[], id: string): Set<string> {
  const found = new Set([id]);
  for (let grown = true; grown;) {
    grown = false;
    for (const node of nodes) {
      if (node.parent !== null && found.has(node.parent) && !found.has(node.id)) {
        found.add(node.id);
        grown = true;
      }
    }
  }
  return found;
}

/** Take a node out; what hung below it moves up. */
export function without(nodes: readonly SiteNode[], id: string): SiteNode[] {
  const gone = nodes.find((node) => node.id === id);
  return nodes.filter((node) => node.id !== id).map((node) => (node.parent === id ? { ...node, parent: gone?.parent ?? null } : node));
}

export function freshId(nodes: readonly SiteNode[]): string {
  let n = nodes.length + 1;
  while (nodes.some((node) => node.id === `n${n}`)) n += 1;
  return `n${n}`;
}

/** A first picture: all meters under one supply. */
export function firstTree(meters: readonly Pick<Meter, "id" | "label">[], name: string): SiteNode[] {
  const root: SiteNode = { id: "n1", name, kind: "transformer", parent: null, meter: null, channel: null };
  return [root, ...meters.map((meter, n): SiteNode => ({
    id: `n${n + 2}`, name: meter.label || meter.id, kind: "meter", parent: "n1", meter: meter.id, channel: null,
  }))];
}
