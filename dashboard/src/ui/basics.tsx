/** The small parts that every page is made of. */

import type { ButtonHTMLAttributes, ComponentProps, MouseEvent, ReactNode } from "react";
import { useId } from "react";
import { Icon, type IconName } from "@/ui/icons";
import { go, usePlace } from "@/lib/router";

type Tone = "plain" | "primary" | "danger" | "quiet";
interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  tone?: Tone;
  icon?: IconName;
  small?: boolean;
}

export function Button({ tone = "plain", icon, small, className = "", children, ...rest }: ButtonProps) {
  const classes = `button button-${tone}${small ? " button-small" : ""} ${className}`;
  return (
    <button type="button" className={classes} {...rest}>
      {icon && <Icon name={icon} size={18} />}
      {children !== undefined && <span>{children}</span>}
    </button>
  );
}

export function IconButton({ icon, label, ...rest }: { icon: IconName; label: string } & ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button type="button" className="icon-button" aria-label={label} title={label} {...rest}>
      <Icon name={icon} />
    </button>
  );
}

/** A link within the app. */
export function Link({ to, children, ...rest }: { to: string; children: ReactNode } & Omit<ComponentProps<"a">, "href">) {
  const follow = (event: MouseEvent): void => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(to);
  };
  return <a href={to} onClick={follow} {...rest}>{children}</a>;
}

/** Tell whether a page is the one shown. */
export function useIsAt(path: string): boolean {
  const at = usePlace().path;
  return path === "/" ? at === "/" : at === path || at.startsWith(`${path}/`);
}

interface CardProps { title?: ReactNode; actions?: ReactNode; children: ReactNode; className?: string }

export function Card({ title, actions, children, className = "" }: CardProps) {
  const id = useId();
  return (
    <section className={`card ${className}`} aria-labelledby={title === undefined ? undefined : id}>
      {title !== undefined && (
        <header className="card-head">
          <h2 id={id}>{title}</h2>
          {actions !== undefined && <div className="row">{actions}</div>}
        </header>
      )}
      {children}
    </section>
  );
}

interface PageProps { title: string; actions?: ReactNode; children: ReactNode; lead?: ReactNode }

export function Page({ title, actions, children, lead }: PageProps) {
  return (
    <>
      <title>{`${title} · Wattwarden`}</title>
      <div className="page-head">
        <div>
          <h1>{title}</h1>
          {lead !== undefined && <p className="muted">{lead}</p>}
        </div>
        {actions !== undefined && <div className="row wrap">{actions}</div>}
      </div>
      {children}
    </>
  );
}

interface Choice<T extends string> { value: T; label: ReactNode; name?: string }
interface ChoicesProps<T extends string> {
  label: string;
  value: T;
  choices: readonly Choice<T>[];
  onChange: (value: T) => void;
}

/** One of a few; arrow keys move, as in every group of radio buttons. */
export function Segmented<T extends string>({ label, value, choices, onChange }: ChoicesProps<T>) {
  const name = useId();
  return (
    <fieldset className="segmented">
      <legend className="unseen">{label}</legend>
      {choices.map((choice) => (
        <label key={choice.value}>
          <input
            type="radio"
            name={name}
            checked={choice.value === value}
            aria-label={choice.name}
            onChange={() => onChange(choice.value)}
          />
          <span>{choice.label}</span>
        </label>
      ))}
    </fieldset>
  );
}

type FieldProps = { label: string; hint?: ReactNode; error?: string | undefined } & ComponentProps<"input">;

export function Field({ label, hint, error, className = "", ...rest }: FieldProps) {
  const id = useId();
  const described = [hint !== undefined && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div className={`field ${className}`}>
      <label htmlFor={id}>{label}</label>
      <input id={id} aria-describedby={described || undefined} aria-invalid={error ? true : undefined} {...rest} />
      {hint !== undefined && <p id={`${id}-hint`} className="hint">{hint}</p>}
      {error && <p id={`${id}-error`} className="field-error">{error}</p>}
    </div>
  );
}

interface SelectProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  options: readonly { value: string; label: string }[];
  hint?: string | undefined;
  compact?: boolean;
  disabled?: boolean;
}

export function Select({ label, value, onChange, options, hint, compact, disabled }: SelectProps) {
  const id = useId();
  return (
    <div className={compact ? "field field-compact" : "field"}>
      <label htmlFor={id} className={compact ? "unseen" : undefined}>{label}</label>
      <select id={id} value={value} disabled={disabled} onChange={(event) => onChange(event.target.value)}>
        {options.map((option) => <option key={option.value} value={option.value}>{option.label}</option>)}
      </select>
      {hint !== undefined && <p className="hint">{hint}</p>}
    </div>
  );
}

export function Switch({ label, checked, onChange, disabled }: { label: string; checked: boolean; onChange: (on: boolean) => void; disabled?: boolean }) {
  return (
    <label className="switch">
      <input type="checkbox" role="switch" checked={checked} disabled={disabled} onChange={(event) => onChange(event.target.checked)} />
      <span className="switch-track" aria-hidden="true" />
      <span>{label}</span>
    </label>
  );
}

export type Mood = "ok" | "warning" | "critical" | "silent" | "info";

export function Badge({ mood, children }: { mood: Mood; children: ReactNode }) {
  return <span className={`badge badge-${mood}`}>{children}</span>;
}

export function Dot({ mood }: { mood: Mood }) {
  return <span className={`dot dot-${mood}`} aria-hidden="true" />;
}

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <Icon name={icon} size={32} />
      <p className="empty-title">{title}</p>
      {children}
    </div>
  );
}

export function Facts({ items }: { items: readonly (readonly [string, ReactNode])[] }) {
  return (
    <dl className="facts">
      {items.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** What may be wider than the screen: scrolled with the keyboard too. */
export function Scroll({ children }: { children: ReactNode }) {
  // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a region that scrolls has to take the focus
  return <div className="table-wrap" tabIndex={0} role="group">{children}</div>;
}
