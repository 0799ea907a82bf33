// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { deviceName, obstacle } from "@/push";

const AGENTS: [string, string][] = [
  ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", "Chrome · Linux"],
  ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge · Windows"],
  ["Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36", "Chrome · Android"],
  ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1", "Safari · iPhone"],
  ["Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox · Mac"],
];

describe("a device", () => {
  it.each(AGENTS)("is told from others by words: %s", (agent, name) => {
    expect(deviceName(agent)).toBe(name);
  });

  it("over plain HTTP cannot be pushed to, and is told why", () => {
    expect(window.isSecureContext).toBeFalsy();
    expect(obstacle()).toBe("insecure");
  });
});
