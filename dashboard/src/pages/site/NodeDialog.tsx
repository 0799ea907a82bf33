/** One part of the site: its name, kind, what feeds it and what measures it. */

import { useState, type SubmitEvent } from "react";
import type { Meter, NodeKind, SiteNode } from "@/api/types";
import { t } from "@/i18n";
import { meterName } from "@/lib/house";
import { below } from "@/pages/site/tree";
import { Button, Field, Select } from "@/ui/basics";
import { Dialog } from "@/ui/feedback";

const KINDS: readonly NodeKind[] = ["transformer", "feeder", "group", "meter"];

interface Props {
  node: SiteNode;
  nodes: readonly SiteNode[];
  meters: readonly Meter[];
  onClose: () => void;
  onSave: (node: SiteNode) => Promise<void>;
  onRemove: (node: SiteNode) => Promise<void>;
}

export function NodeDialog({ node, nodes, meters, onClose, onSave, onRemove }: Props) {
  const [draft, setDraft] = useState(node);
  const isNew = !nodes.some((one) => one.id === node.id);
  const set = (part: Partial<SiteNode>): void => setDraft((held) => ({ ...held, ...part }));
  const forbidden = below(nodes, node.id);
  const channels = Object.keys(meters.find((meter) => meter.id === draft.meter)?.channels ?? {});
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    void onSave({ ...draft, name: draft.name.trim() });
  };
  return (
    <Dialog title={t("site.node")} onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <Select label={t("site.kind")} value={draft.kind} options={KINDS.map((kind) => ({ value: kind, label: t(`site.kind.${kind}`) }))} onChange={(kind) => set({ kind: kind as NodeKind })} />
        <Select
          label={t("site.meter")} value={draft.meter ?? ""}
          options={[{ value: "", label: t("site.meter.none") }, ...meters.map((meter) => ({ value: meter.id, label: meterName(meter) }))]}
          onChange={(id) => set({ meter: id || null, channel: null, ...(draft.name === "" && id ? { name: id } : {}) })}
        />
        {channels.length > 1 && (
          <Select
            label={t("meters.channel")} value={draft.channel ?? ""}
            options={[{ value: "", label: t("role.grid") }, ...channels.map((name) => ({ value: name, label: name }))]}
            onChange={(name) => set({ channel: name || null })}
          />
        )}
        <Field label={t("site.name")} required maxLength={80} value={draft.name} onChange={(event) => set({ name: event.target.value })} />
        <Select
          label={t("site.parent")} value={draft.parent ?? ""}
          options={[{ value: "", label: t("site.parent.none") }, ...nodes.filter((one) => !forbidden.has(one.id)).map((one) => ({ value: one.id, label: one.name }))]}
          onChange={(id) => set({ parent: id || null })}
        />
        <div className="dialog-foot">
          {!isNew && <Button icon="trash" className="push-left" title={t("site.remove.text", { name: node.name })} onClick={() => void onRemove(node)}>{t("site.remove")}</Button>}
          <Button onClick={onClose}>{t("act.cancel")}</Button>
          <Button tone="primary" type="submit">{t("act.save")}</Button>
        </div>
      </form>
    </Dialog>
  );
}
