import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Runs a benchmark again on another engine: `--node 24` stands at `at`; `npm run engines` installs them. */
export function onEngine(name: string, args: readonly string[], at: number): void {
  const root = fileURLToPath(new URL('../', import.meta.url))
  const rest = args.filter((_, i) => i !== at && i !== at + 1)
  const { status } = spawnSync(`${root}tools/engines/node_modules/node${args[at + 1] ?? ''}/bin/node`, ['--import', 'tsx', `${root}bench/run.ts`, name, ...rest], { cwd: root, stdio: 'inherit', env: { ...process.env, TSX_TSCONFIG_PATH: `${root}tsconfig.base.json` } })
  process.exitCode = status ?? 1
}
