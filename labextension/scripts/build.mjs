// Builds everything that the browser gets, in one Node process: node scripts/build.mjs [--dev] [--watch]
// One process, since nested `npm run` needs an npm launcher on PATH, which a wheel's Node.js doesn't have.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const out = path.resolve(root, '../tensorlake_nb/static');
const need = createRequire(path.join(root, 'package.json'));
const isDev = process.argv.includes('--dev');
const isWatching = process.argv.includes('--watch');
const common = {
  absWorkingDir: root,
  bundle: true,
  target: 'es2022',
  sourcemap: isDev ? 'inline' : false,
  logLevel: 'warning',
};

const jobs = [
  // what the lab builder starts from: our code and dagre in one file, JupyterLab's packages left for it to provide
  {
    ...common,
    entryPoints: ['src/index.ts'],
    outfile: 'lib/index.js',
    format: 'esm',
    external: ['@jupyterlab/*', '@lumino/*'],
  },
  // the anywidget module: self-contained
  { ...common, entryPoints: ['src/widget.ts'], outfile: path.join(out, 'widget.js'), format: 'esm', minify: !isDev },
  { ...common, entryPoints: ['style/widget.css'], outfile: path.join(out, 'widget.css'), minify: !isDev },
];
for (const job of jobs) {
  if (isWatching) await (await esbuild.context(job)).watch();
  else await esbuild.build(job);
}

const folderOf = (name) => path.dirname(need.resolve(`${name}/package.json`));
const builder = [
  path.join(folderOf('@jupyter/builder'), 'lib/build-labextension.js'),
  '--core-package-file', // without it the builder asks the network for the core's versions
  path.join(folderOf('@jupyterlab/core-meta'), 'core.package.json'),
  ...(isDev ? ['--development', '--source-map'] : []),
  ...(isWatching ? ['--watch'] : []),
  root,
];
spawn(process.execPath, builder, { cwd: root, stdio: 'inherit' }).on('exit', (code) => process.exit(code ?? 1));
