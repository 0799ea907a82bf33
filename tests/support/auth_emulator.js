// The Auth emulator of firebase-tools alone, in one node process: no Java, no download, no hub.
// usage: node auth_emulator.js FOLDER_OF_node_modules PORT PROJECT
const path = require("path");
const { createRequire } = require("module");
const [folder, port, project] = process.argv.slice(2);
const tools = path.join(folder, "node_modules/firebase-tools/lib/emulator");

// The emulator compiles a validator for each call of Google's whole API before it listens: twenty
// seconds of computing. Compiled when it is first used, a validator is the same.
const Ajv = createRequire(require.resolve("exegesis", { paths: [tools] }))("ajv");
const Base = Ajv.default || Ajv;
const compile = Base.prototype.compile;
Base.prototype.compile = function (schema, ...more) {
  let real;
  const lazy = (...given) => {
    real = real || compile.call(this, schema, ...more);
    const found = real(...given);
    lazy.errors = real.errors;
    return found;
  };
  return lazy;
};

const { EmulatorRegistry } = require(path.join(tools, "registry"));
const { AuthEmulator, SingleProjectMode } = require(path.join(tools, "auth"));
const emulator = new AuthEmulator({
  host: "127.0.0.1", port: Number(port), projectId: project,
  singleProjectMode: SingleProjectMode.NO_WARNING,
});
EmulatorRegistry.start(emulator).catch((error) => {
  console.error(error);
  process.exit(1);
});
