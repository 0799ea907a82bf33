import "@/styles/tokens.css";
import "@/styles/base.css";
import "@/styles/shell.css";
import "@/styles/parts.css";
import "@/styles/pages.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { resume } from "@/api/session";
import { App } from "@/app";
import { startWorker } from "@/worker";

const root = document.getElementById("app");
if (!root) throw new Error("index.html has no #app");
createRoot(root).render(<StrictMode><App /></StrictMode>);
void resume();
startWorker();
