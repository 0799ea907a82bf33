// A house seen from anywhere: newest readings, open alerts, acknowledging, pushes to this device.
// Reads Firestore under the security rules; every command goes through the function `command`.
"use strict";

const LEASE_S = 60; // while the page is looked at, readings come every 5 s
const element = (id) => document.getElementById(id);
const say = (text) => { element("status").textContent = text; };

/** Return a text that fits a reading: "1.84 kW", with a sign for what is fed in. */
function power(watts) {
  if (watts === null || watts === undefined) return "–";
  const size = Math.abs(watts);
  return size >= 1000 ? `${(watts / 1000).toFixed(2)} kW` : `${Math.round(watts)} W`;
}

/** Return how long ago a Firestore time was, in words. */
function ago(time, nowMs = Date.now()) {
  const seconds = Math.max(0, Math.round((nowMs - time.toMillis()) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min ago` : time.toDate().toLocaleString();
}

/** Make a list item of texts; nothing a meter or person wrote becomes HTML. */
function item(kind, ...parts) {
  const li = document.createElement("li");
  li.className = kind;
  for (const [name, text] of parts) {
    const div = document.createElement("div");
    div.className = name;
    div.textContent = text;
    li.append(div);
  }
  return li;
}

class House {
  constructor(site, user) {
    this.root = firebase.firestore().doc(`sites/${site}`);
    this.site = site;
    this.user = user;
    this.meters = [];
    this.leased = new Set(); // since the timer's last turn
    this.ends = [];
  }

  open() {
    const failed = (error) => say(error.code === "permission-denied"
      ? `you are no member of ${this.site}` : error.message);
    this.ends.push(this.root.collection("latest").onSnapshot((found) => {
      found = { empty: found.empty, docs: found.docs.filter((d) => !d.data().removed) };
      say(found.empty ? "no reading has arrived yet" : "");
      this.meters = found.docs.map((document) => document.id);
      element("meters").replaceChildren(...found.docs.map((d) => this.meter(d.data())));
      this.lease();
    }, failed));
    this.ends.push(this.root.collection("alerts").where("state", "in", ["open", "acknowledged"])
      .onSnapshot((found) => {
        const alerts = found.docs.map((d) => this.alert(d.data()));
        element("alerts").replaceChildren(...(alerts.length ? alerts : [item("", ["", "none"])]));
      }, failed));
    const timer = setInterval(() => {
      this.leased.clear();
      this.lease();
    }, LEASE_S * 500);
    this.ends.push(() => clearInterval(timer));
  }

  close() {
    for (const end of this.ends.splice(0)) end();
  }

  meter(reading) {
    const channels = Object.entries(reading.channels)
      .map(([name, values]) => ["power", `${name}: ${power(values.p)}`]);
    return item("", ["", reading.label || reading.meter], ...channels, ["", ago(reading.at)]);
  }

  alert(alert) {
    const li = item(alert.severity, ["", alert.title], ["", alert.detail], ["", ago(alert.opened)]);
    if (alert.state === "open") {
      const button = document.createElement("button");
      button.textContent = "I look after it";
      button.onclick = () => this.command("acknowledge", { alert: alert.id });
      li.append(button);
    }
    return li;
  }

  /**
   * Tell the gateway that somebody is looking; without it readings come every six hours.
   * Each lease is a paid write, so every reading that comes asks only for meters without one.
   */
  lease() {
    if (document.visibilityState !== "visible") return;
    for (const meter of this.meters.filter((one) => !this.leased.has(one))) {
      this.leased.add(meter);
      this.root.collection("leases").doc(`${this.user.uid}_${meter}`)
        .set({ meter, ttl_s: LEASE_S }).catch((error) => say(error.message));
    }
  }

  async command(kind, args) {
    say("asking the gateway …");
    try {
      const call = firebase.app().functions(self.WATTWARDEN.region).httpsCallable("command");
      const { data } = await call({ site: this.site, kind, args, id: crypto.randomUUID() });
      const end = firebase.firestore().doc(data.path).onSnapshot((found) => {
        const { state, result } = found.data();
        if (state === "new") return;
        end();
        say(result.ok ? "done" : result.error);
      });
    } catch (error) {
      say(error.message);
    }
  }

  async push() {
    if (await Notification.requestPermission() !== "granted") {
      say("this device does not allow notifications");
      return;
    }
    const token = await firebase.messaging().getToken({ vapidKey: self.WATTWARDEN.vapidKey });
    const spoken = navigator.language.slice(0, 2);
    const language = ["en", "de", "es", "fr", "pt"].includes(spoken) ? spoken : "en";
    await this.command("device", { token, platform: "web", name: navigator.platform, language });
  }
}

function start() {
  let house = null;
  const auth = firebase.auth();
  element("login").onsubmit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    localStorage.setItem("site", form.get("site"));
    try {
      await auth.signInWithEmailAndPassword(form.get("email"), form.get("password"));
    } catch (error) {
      say(error.message);
    }
  };
  element("logout").onclick = () => auth.signOut();
  element("push").onclick = () => house.push().catch((error) => say(error.message));
  document.addEventListener("visibilitychange", () => house && house.lease());
  auth.onAuthStateChanged((user) => {
    if (house) house.close();
    house = user ? new House(localStorage.getItem("site") || "home", user) : null;
    element("login").hidden = Boolean(user);
    element("house").hidden = !user;
    if (house) house.open();
  });
}

if (typeof firebase !== "undefined") start();
