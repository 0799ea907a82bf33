// What this page must know of the project. Neither is a secret. See docs/cloud.md.
self.WATTWARDEN = {
  region: "europe-west1", // where the functions are deployed
  vapidKey: "", // Project settings, Cloud Messaging, Web Push certificates
};
