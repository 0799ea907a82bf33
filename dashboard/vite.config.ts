// Builds the app into dist/: hashed files under assets/, and a service worker that knows them all.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const GATEWAY = process.env.WATTWARDEN_URL ?? "http://127.0.0.1:8080";
const WORKER = "sw.js";
const SHELL = ["manifest.webmanifest", "icon.svg", "icon-192.png"];

/** Writes into the service worker what it has to keep: a new build has another list. */
function precache(): Plugin {
  return {
    name: "precache",
    apply: "build",
    enforce: "post",
    generateBundle(_, bundle) {
      const worker = bundle[WORKER];
      if (worker?.type !== "chunk") throw new Error(`${WORKER} was not built`);
      const hash = createHash("sha256");
      const files: string[] = [];
      for (const [name, file] of Object.entries(bundle)) {
        hash.update(file.type === "chunk" ? file.code : file.source);
        if (name.startsWith("assets/")) files.push(`/${name}`);
      }
      for (const name of SHELL) {
        hash.update(readFileSync(new URL(`public/${name}`, import.meta.url)));
        files.push(`/${name}`);
      }
      const build = { version: hash.digest("hex").slice(0, 12), files: ["/", ...files.sort()] };
      worker.code = worker.code.replace("__BUILD__", () => JSON.stringify(build));
    },
  };
}

export default defineConfig({
  plugins: [react(), precache()],
  resolve: { alias: { "@": fileURLToPath(new URL("src", import.meta.url)) } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the page's policy allows no data: scripts or styles
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { app: "index.html", sw: "src/sw.ts" },
      output: {
        entryFileNames: (chunk) => (chunk.name === "sw" ? WORKER : "assets/[name]-[hash].js"),
      },
    },
  },
  server: {
    proxy: {
      "/api": { target: GATEWAY, headers: { origin: GATEWAY } },
      "/trust/": { target: GATEWAY },
    },
  },
});
