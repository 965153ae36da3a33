import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findCycle } from '../cycles.js'
import { importsOf, packageOf } from '../imports.js'
import { filesBelow, publishedPackages, ROOT, type Workspace } from '../workspace.js'

/** The arrows of the architecture: layer → layers it may import. The same table as in eslint.config.js. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  formats: ['core'],
  algorithm: ['core'],
  part: ['part', 'formats', 'core'],
  plugin: ['part', 'formats', 'core'],
  app: ['plugin', 'part', 'algorithm', 'formats', 'core'],
}

const packages = publishedPackages()
const byName = new Map(packages.map((p) => [p.manifest.name, p]))
const layerOf = (p: Workspace): string => p.manifest.nx?.tags?.find((tag) => tag.startsWith('layer:'))?.slice(6) ?? 'none'
const sourcesOf = (p: Workspace): readonly string[] => filesBelow(join(p.folder, 'src')).filter((f) => f.endsWith('.ts'))

/** Entry points of a package, by the specifier a user writes. */
function entriesOf({ manifest }: Workspace): readonly { readonly specifier: string; readonly file: string }[] {
  return Object.entries(manifest.exports ?? {}).flatMap(([key, target]) =>
    typeof target === 'object' && target['default'] !== undefined ? [{ specifier: manifest.name + key.slice(1), file: target['node'] ?? target['default'] }] : [],
  )
}

/** Problems of one import, as sentences. */
function problems(p: Workspace, file: string, specifier: string, kind: string): string[] {
  const where = `${relative(ROOT, file)} imports '${specifier}'`
  if (specifier.startsWith('.')) {
    const target = resolve(file, '..', specifier)
    if (!target.startsWith(join(p.folder, 'src'))) return [`${where}: outside of its own package`]
    return /\.(js|json)$/.test(specifier) ? [] : [`${where}: relative imports end in .js`]
  }
  if (specifier.startsWith('node:')) {
    const nodeOnly = layerOf(p) === 'app' || /[/\\]src[/\\](node\.ts|.*[/\\]?node[/\\]|.*[.-]node\.ts)/.test(file)
    if (layerOf(p) === 'core') return [`${where}: core runs everywhere`]
    return nodeOnly || kind !== 'static' ? [] : [`${where}: browsers cannot load it; import() it behind a check, or move it to a node entry`]
  }
  const name = packageOf(specifier)
  const target = byName.get(name)
  const { dependencies = {}, peerDependencies = {} } = p.manifest
  const found: string[] = []
  if (name !== p.manifest.name && dependencies[name] === undefined && peerDependencies[name] === undefined) found.push(`${where}: not in dependencies or peerDependencies`)
  if (target !== undefined) {
    if (!ARROWS[layerOf(p)]?.includes(layerOf(target))) found.push(`${where}: ${layerOf(p)} may not import ${layerOf(target)}`)
    if (!entriesOf(target).some((entry) => entry.specifier === specifier)) found.push(`${where}: not an entry point of ${name}`)
  }
  return found
}

describe('packages', () => {
  it('are found', () => {
    expect(packages.length).toBeGreaterThanOrEqual(14)
    expect(new Set(packages.map(layerOf))).toEqual(new Set(Object.keys(ARROWS)))
  })

  it('the reader of imports sees every form', () => {
    const source = "import a from 'a'\nimport type { B } from 'b'\nexport * from './c.js'\nexport type { D } from 'd'\nconst e = await import('e')\ntype F = import('f').F\nimport 'g'\n// import 'no'"
    expect(importsOf(source, 'x.ts').map((i) => `${i.specifier}:${i.kind}`)).toEqual(['a:static', 'b:type', './c.js:static', 'd:type', 'e:dynamic', 'f:type', 'g:static'])
  })

  it.each(packages.map((p): [string, Workspace] => [p.manifest.name, p]))('%s imports only what its layer may and its package.json names', (_, p) => {
    const found = sourcesOf(p).flatMap((file) => importsOf(readFileSync(file, 'utf8'), file).flatMap((i) => problems(p, file, i.specifier, i.kind)))
    expect(found).toEqual([])
  })

  it.each(packages.map((p): [string, Workspace] => [p.manifest.name, p]))('%s has no circle of imports between its files, of types either', (_, p) => {
    const imports = new Map(sourcesOf(p).map((file) => [file, importsOf(readFileSync(file, 'utf8'), file).flatMap((i) => (i.specifier.startsWith('.') && i.kind !== 'dynamic' ? [resolve(file, '..', i.specifier.replace(/\.js$/, '.ts'))] : []))]))
    expect(findCycle(imports)?.map((file) => relative(p.folder, file)).join(' → ')).toBeUndefined()
  })

  it('the search for circles finds the shortest and the long ones', () => {
    const graph = (edges: Readonly<Record<string, string>>): Map<string, readonly string[]> => new Map(Object.entries(edges).map(([from, to]) => [from, to.split('')]))
    expect(findCycle(graph({ a: 'a' }))).toEqual(['a', 'a'])
    expect(findCycle(graph({ a: 'b', b: 'cd', c: '', d: 'eb' }))).toEqual(['b', 'd', 'b'])
    expect(findCycle(graph({ a: 'bc', b: 'd', c: 'd', d: '' }))).toBeUndefined()
  })

  it.each(packages.map((p): [string, Workspace] => [p.manifest.name, p]))('%s is described as all are', (name, { manifest, folder }) => {
    expect(manifest).toMatchObject({ sideEffects: false, type: 'module', license: 'Apache-2.0', engines: { node: '>=20.19' }, files: expect.arrayContaining(['dist', 'README.md']) })
    expect(manifest.description ?? '').not.toBe('')
    expect(manifest.exports?.['./package.json']).toBe('./package.json')
    for (const [key, target] of Object.entries(manifest.exports ?? {})) {
      // `default`, so that require() finds it too; what needs Node has another form for pages.
      if (typeof target === 'object') expect([key, Object.keys(target)]).toEqual([key, target['node'] === undefined ? ['types', 'default'] : ['types', 'node', 'default']])
    }
    if (name === '@lowbit/core') expect([manifest.dependencies, manifest.peerDependencies]).toEqual([undefined, undefined])
    else if (name !== 'lowbit') expect(manifest.peerDependencies?.['@lowbit/core']).toBeDefined()
    expect(Object.keys(manifest.dependencies ?? {}).filter((d) => d === '@lowbit/core' && name !== 'lowbit')).toEqual([])
    expect(readFileSync(join(folder, 'LICENSE'), 'utf8')).toBe(readFileSync(join(ROOT, 'LICENSE'), 'utf8'))
    expect(existsSync(join(folder, 'README.md'))).toBe(true)
  })

  it.each(packages.map((p): [string, Workspace] => [p.manifest.name, p]))('%s says its own version wherever it says one', (_, p) => {
    const stated = sourcesOf(p).flatMap((file) => [...readFileSync(file, 'utf8').matchAll(/\bVERSION = '([^']+)'/g)].map((match) => match[1]))
    expect(stated.filter((version) => version !== p.manifest.version)).toEqual([])
  })
})

/**
 * Run in a process of its own: imports the peers that the entry cannot do without, then the entry, and names what the entry added.
 * Without permissions: a write, a thread, a child process or a native library at import would throw.
 */
const PROBE = `
  const settle = () => new Promise((resolve) => setTimeout(resolve, 20))
  const state = () => [
    ...Reflect.ownKeys(globalThis).map((key) => 'global ' + String(key)),
    ...process.getActiveResourcesInfo().map((kind, i, all) => 'handle ' + kind + ' ' + all.slice(0, i).filter((k) => k === kind).length),
    ...process.eventNames().map((name) => 'listeners ' + String(name) + ' ' + process.listenerCount(name)),
  ]
  const [entry, ...before] = process.argv.slice(1)
  for (const name of before) await import(name)
  await settle()
  const was = new Set(state())
  await import(entry)
  await settle()
  console.log(JSON.stringify(state().filter((thing) => !was.has(thing))))
  process.exit()
`
const permission = Number(process.versions.node.split('.')[0]) >= 23 ? '--permission' : '--experimental-permission'

/** What importing `entry` added to the process, after `before` were imported. */
function effectsOf(entry: string, before: readonly string[], cwd: string): readonly string[] {
  return JSON.parse(execFileSync(process.execPath, ['--no-warnings', permission, '--allow-fs-read=*', '--input-type=module', '-e', PROBE, entry, ...before], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }))
}

/** A worker's own module listens as soon as it is there: it is run by its address, not imported. */
const isWorker = (specifier: string): boolean => specifier.endsWith('-worker.js')

const built = packages.flatMap((p) => entriesOf(p).filter((entry) => !isWorker(entry.specifier)).map((entry) => ({ ...entry, p, path: join(p.folder, entry.file) })))
const missing = built.filter(({ path }) => !existsSync(path))

describe.skipIf(missing.length > 0)(`importing an entry point${missing.length > 0 ? ` (skipped: run npm run build; missing ${missing.map((m) => m.specifier).join(', ')})` : ''}`, () => {
  it.each(built.map((entry): [string, (typeof built)[number]] => [entry.specifier, entry]))('%s opens no handle, thread, file or device', (specifier, { p }) => {
    const { peerDependencies = {}, peerDependenciesMeta = {} } = p.manifest
    const peers = Object.keys(peerDependencies).filter((name) => !byName.has(name) && peerDependenciesMeta[name]?.optional !== true)
    expect(effectsOf(specifier, peers, p.folder)).toEqual([])
  })
})

describe('the probe of imports', () => {
  const module = (source: string): string => `data:text/javascript,${encodeURIComponent(source)}`

  it('sees globals, timers and listeners', () => {
    const effects = effectsOf(module("globalThis.made = 1; setInterval(() => 0, 1000); process.on('exit', () => 0)"), [], ROOT)
    expect(effects).toEqual(expect.arrayContaining(['global made', 'handle Timeout 0']))
    expect(effects.some((effect) => effect.startsWith('listeners exit'))).toBe(true)
  })

  it('lets no thread, process or write through', () => {
    for (const source of ["import { Worker } from 'node:worker_threads'; new Worker('0', { eval: true })", "import { spawnSync } from 'node:child_process'; spawnSync('true')", "import { writeFileSync } from 'node:fs'; writeFileSync('made', '')"]) {
      expect(() => effectsOf(module(source), [], ROOT)).toThrow('ERR_ACCESS_DENIED')
    }
  })
})
