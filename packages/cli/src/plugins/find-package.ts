import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, sep } from 'node:path'
import { LowbitError } from '@lowbit/core'

/** A package name with what may follow it: no paths, no URLs, nothing that leaves the package. */
const BARE = /^(@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*(\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$/

/** True for `pkg`, `@scope/pkg` and what they export under a name of its own. */
export function isBareName(name: string): boolean {
  return name.length <= 214 && BARE.test(name)
}

/** The package that a bare name belongs to: `@scope/pkg` of `@scope/pkg/part`. */
export function packageOf(name: string): string {
  return name.split('/').slice(0, name.startsWith('@') ? 2 : 1).join('/')
}

/** A project: its package.json, and what that lists. */
export interface Project {
  readonly file: string
  readonly listed: ReadonlySet<string>
}

/** The nearest package.json from a folder upwards; undefined where there is none. @throws LOWBIT_FILE if it is no JSON */
export function nearestProject(folder: string): Project | undefined {
  for (let at = folder; ; at = dirname(at)) {
    const file = join(at, 'package.json')
    if (existsSync(file)) {
      const content = readJson(file)
      return { file, listed: new Set(['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((key) => Object.keys(objectOf(objectOf(content)[key])))) }
    }
    if (dirname(at) === at) return undefined
  }
}

/**
 * The file that a bare name stands for, seen from a project: what the package exports to `import`, else what `require` finds.
 * @throws LOWBIT_NOT_FOUND if it is not installed, or exports nothing of that name
 */
export function moduleFile(name: string, project: Project): string {
  const require = createRequire(project.file)
  const owner = packageOf(name)
  for (const folder of require.resolve.paths(owner) ?? []) {
    const home = join(folder, owner)
    const file = join(home, 'package.json')
    if (!existsSync(file)) continue
    const { exports } = objectOf(readJson(file))
    const part = name === owner ? '.' : `.${name.slice(owner.length)}`
    const target = exports === undefined ? undefined : exported(exports, part)
    const path = target === undefined ? undefined : join(home, target)
    if (path !== undefined && path.startsWith(home + sep)) return path
    break
  }
  try {
    return require.resolve(name)
  } catch (cause) {
    throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `package ${JSON.stringify(name)}`, found: `${project.file} lists it, but it is not installed or exports nothing of that name`, fix: 'run `npm install`', cause })
  }
}

/** The conditions that `import` in Node fulfils. */
const CONDITIONS: readonly string[] = ['node', 'import', 'module-sync', 'default']

function exported(exports: unknown, part: string): string | undefined {
  const byPart = typeof exports === 'object' && exports !== null && Object.keys(exports).some((key) => key.startsWith('.'))
  return target(byPart ? (Object.hasOwn(exports, part) ? objectOf(exports)[part] : undefined) : part === '.' ? exports : undefined)
}

function target(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  for (const [condition, inner] of Object.entries(objectOf(value))) {
    const found = CONDITIONS.includes(condition) ? target(inner) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new LowbitError('LOWBIT_FILE', { thing: file, found: 'cannot be read as JSON', cause })
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : {}
}
