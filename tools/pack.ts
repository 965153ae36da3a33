import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { filesBelow, publishedPackages, ROOT, type Workspace } from './workspace.js'

/** npm as a user would run it: without what an npm above us put into the environment, except where to fetch from. */
const KEPT = new Set(['npm_config_registry', 'npm_config_cache', 'npm_config_userconfig'])
const environment = (): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('npm_') || KEPT.has(key))),
  // Its CPU library is inside the package; the script would only fetch GPU builds.
  ONNXRUNTIME_NODE_INSTALL: 'skip',
  npm_config_onnxruntime_node_install: 'skip',
})

const execute = promisify(execFile)

/** Runs a command and gives its output; a failure carries what it printed. Not blocking: the registry lives in this process. */
export async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    return (await execute(command, args, { cwd, env: environment(), encoding: 'utf8', maxBuffer: 1 << 26, timeout: 300_000 })).stdout
  } catch (error) {
    const printed = error instanceof Error && 'stdout' in error && 'stderr' in error ? `${String(error.stdout)}\n${String(error.stderr)}` : String(error)
    throw new Error(`${command} ${args.join(' ')}\n${error instanceof Error && 'code' in error ? `exit ${String(error.code)}` : ''}\n${printed}`, { cause: error })
  }
}

/** An empty folder that is outside of the checkout, so that nothing of it can be found by accident. */
export function emptyFolder(purpose: string): string {
  return mkdtempSync(join(tmpdir(), `lowbit-${purpose}-`))
}

/** Packs every published package as npm would upload it: name → tarball. */
export async function packAll(into: string): Promise<ReadonlyMap<string, string>> {
  mkdirSync(into, { recursive: true })
  const packages = publishedPackages()
  const args = packages.flatMap(({ manifest }) => ['--workspace', manifest.name])
  const packed: readonly { name: string; filename: string }[] = JSON.parse(await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', into, ...args], ROOT))
  return new Map(packed.map(({ name, filename }) => [name, join(into, filename.replace('@', '').replace('/', '-'))]))
}

/** Packs a package as if it had been released with another version. */
export async function packAs({ folder, manifest }: Workspace, version: string, into: string): Promise<string> {
  const copy = emptyFolder('release')
  for (const entry of ['dist', 'README.md', 'LICENSE']) cpSync(join(folder, entry), join(copy, entry), { recursive: true })
  writeFileSync(join(copy, 'package.json'), JSON.stringify({ ...manifest, version }))
  const stated = `"${manifest.version}"`
  const stating = filesBelow(join(copy, 'dist')).filter((file) => file.endsWith('.js') && readFileSync(file, 'utf8').includes(`VERSION = ${stated}`))
  if (stating.length === 0) throw new Error(`${manifest.name} does not state its version`)
  for (const file of stating) writeFileSync(file, readFileSync(file, 'utf8').replaceAll(`VERSION = ${stated}`, `VERSION = "${version}"`))
  const [packed]: readonly { filename: string }[] = JSON.parse(await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', into], copy))
  rmSync(copy, { recursive: true })
  return join(into, packed.filename)
}

/** Installs into an empty folder what a user would name; the `@lowbit` scope comes from `registry`. */
export async function installInto(folder: string, registry: string, names: readonly string[]): Promise<void> {
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'user', private: true, type: 'module' }))
  writeFileSync(join(folder, '.npmrc'), `@lowbit:registry=${registry}\nfund=false\naudit=false\nprefer-offline=true\n`)
  await run('npm', ['install', '--loglevel=error', ...names], folder)
}
