// Holds custom resources, a JSON array on standard input, against their schemas. Prints one line for each that does not fit, and
// one with the number of those that were looked at.
import { pathToFileURL } from "node:url";

const packages = { "cert-manager.io": "cert-manager", "monitoring.coreos.com": "prometheus-operator" };
const folder = `${process.env.ROOKERY_CHART_TOOLS}/node_modules/@kubernetes-models`;
let text = "";
for await (const part of process.stdin) text += part;
const documents = JSON.parse(text);
for (const { apiVersion, kind, ...rest } of documents) {
  const module = `${folder}/${packages[apiVersion.split("/")[0]]}/${apiVersion}/${kind}.js`;
  const { [kind]: Kind } = await import(pathToFileURL(module).href);
  try {
    new Kind(rest).validate();
  } catch (error) {
    console.log(`wrong: ${kind} ${rest.metadata.name}: ${error.message}`);
  }
}
console.log(`looked at ${documents.length}`);
