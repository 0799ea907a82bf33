/** Line icons of one weight, drawn for this app. */

const PATHS = {
  now: "M4 13h4l2.5-8 4 15 2.5-7h3",
  history: "M4 20V10M10 20V4M16 20v-8M21 20H3",
  alerts: "M12 4a6 6 0 0 1 6 6c0 5 2 6 2 7H4c0-1 2-2 2-7a6 6 0 0 1 6-6ZM10 20.5h4",
  meters: "M5 4h14v16H5ZM8.5 8h7v4h-7ZM9 16h.01M12 16h.01M15 16h.01",
  site: "M12 4v5M12 9H6v4M12 9h6v4M6 13v0M4 13h4v5H4ZM16 13h4v5h-4ZM10 2.5h4V6h-4Z",
  import: "M12 4v11M8 11l4 4 4-4M4 19h16",
  system: "M5 5h14v6H5ZM5 13h14v6H5ZM8 8h.01M8 16h.01",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  tariff: "M12 3v18M16.5 7.5C15.5 6 14 5.5 12 5.5c-2.5 0-4.5 1-4.5 3.2 0 4.6 9 2.2 9 6.9 0 2.1-2 3.2-4.5 3.2-2.2 0-4-.8-5-2.6",
  house: "M4 11.5 12 5l8 6.5M6 10v9h12v-9M10 19v-5h4v5",
  grid: "M8 21 10.5 4h3L16 21M6 9h12M7 13.5h10M9.5 9l5.7 4.5M14.5 9l-5.7 4.5",
  solar: "M12 8.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7ZM12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M18.4 5.6 17 7M7 17l-1.4 1.4",
  plug: "M9 4v5M15 4v5M6.5 9h11v3a5.5 5.5 0 0 1-11 0ZM12 17.5V21",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  down: "M5 9l7 7 7-7",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5 10 17.5 19 7",
  warning: "M12 4 21 19.5H3ZM12 10v4.5M12 17h.01",
  critical: "M8 3.5h8L20.5 8v8L16 20.5H8L3.5 16V8ZM12 8v5M12 16h.01",
  clock: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16ZM12 8v4.5l3 2",
  mute: "M4 10v4h3.5L12 18V6L7.5 10ZM16 10l4 4M20 10l-4 4",
  download: "M12 4v11M8 11l4 4 4-4M5 20h14",
  image: "M4 5h16v14H4ZM4 16l4.5-4.5 4 4 3-3L20 17M15 9h.01",
  table: "M4 5h16v14H4ZM4 10h16M4 14.5h16M10 10v9",
  edit: "M4 20l1-4L16 5l3 3L8 19ZM14 7l3 3",
  plus: "M12 5v14M5 12h14",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13",
  wall: "M4 5h16v11H4ZM9 20h6M12 16v4",
  sun: "M12 8.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7ZM12 3v2M12 19v2M3 12h2M19 12h2",
  moon: "M19 14.5A7.5 7.5 0 0 1 9.5 5 7.5 7.5 0 1 0 19 14.5Z",
  auto: "M12 4a8 8 0 1 1 0 16ZM12 4a8 8 0 1 0 0 16",
  user: "M12 4.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7ZM5 20c.5-4 3-6 7-6s6.5 2 7 6",
  out: "M10 5H5v14h5M14 8l4 4-4 4M18 12H9",
  lock: "M6 11h12v9H6ZM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  transformer: "M9 12m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0M15 12m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0",
  feeder: "M4 12h16M8 12V7M12 12v5M16 12V7",
  group: "M4 5h7v6H4ZM13 13h7v6h-7ZM13 5h7v6h-7ZM4 13h7v6H4Z",
  signal: "M4 18h.01M8.5 18a4.5 4.5 0 0 0-4.5-4.500M13 18a9 9 0 0 0-9-9M17.5 18A13.5 13.5 0 0 0 4 4.5",
  bell: "M12 4a6 6 0 0 1 6 6c0 5 2 6 2 7H4c0-1 2-2 2-7a6 6 0 0 1 6-6ZM10 20.500h4",
  undo: "M4 9h10a5.5 5.5 0 0 1 0 11H9M8 5 4 9l4 4",
  phone: "M7.5 3h9v18h-9ZM11 18h2",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg className="icon" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
