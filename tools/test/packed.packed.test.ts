import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { float, graph, hostToTensor, model, node, valueInfo, writeNpz, writeOnnx } from '@lowbit/formats'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { emptyFolder, installInto, packAll, packAs, run } from '../pack.js'
import { manifestOf, startRegistry, type LocalRegistry } from '../registry.js'
import { publishedPackages, ROOT } from '../workspace.js'

const work = emptyFolder('packed')
const packages = publishedPackages()
let tarballs: ReadonlyMap<string, string>
let registry: LocalRegistry

beforeAll(async () => {
  const missing = packages.filter((p) => !existsSync(join(p.folder, 'dist')))
  if (missing.length > 0) throw new Error(`not built: ${missing.map((p) => p.manifest.name).join(', ')}; run npm run build`)
  tarballs = await packAll(join(work, 'tarballs'))
  registry = await startRegistry([...tarballs.values()])
})
afterAll(async () => {
  await registry.close()
  rmSync(work, { recursive: true, force: true })
})

const tarball = (name: string): string => {
  const path = tarballs.get(name)
  if (path === undefined) throw new Error(`${name} was not packed`)
  return path
}

/** A folder in which a user has installed these, and nothing else. */
async function userOf(purpose: string, ...names: string[]): Promise<{ readonly folder: string; node(source: string): Promise<string> }> {
  const folder = join(work, purpose)
  mkdirSync(folder)
  await installInto(folder, registry.url, names)
  return {
    folder,
    node(source) {
      writeFileSync(join(folder, 'use.mjs'), source)
      return run(process.execPath, ['use.mjs'], folder)
    },
  }
}

const TSC = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')
const STRICT = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2023,dom,esnext.disposable']

/** Bytes of all files in a folder. */
function diskBytes(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).reduce((sum, name) => {
    const found = statSync(join(folder, name))
    return sum + (found.isFile() ? found.size : 0)
  }, 0)
}

/** Two linear layers, 16 → 32 → 8, with the weights that a fixed formula gives. */
function smallModel(): Uint8Array {
  const matrix = (name: string, rows: number, columns: number): ReturnType<typeof hostToTensor> =>
    hostToTensor(name, { dtype: 'float32', shape: [rows, columns], data: Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * i * 0.7 + i) / 3) })
  return writeOnnx(
    model(
      graph({
        nodes: [
          node('MatMul', ['x', 'w1'], ['h'], {}, '', 'first'),
          node('LeakyRelu', ['h'], ['r'], { alpha: float(0.1) }),
          node('MatMul', ['r', 'w2'], ['y'], {}, '', 'second'),
        ],
        inputs: [valueInfo('x', 'float32', ['batch', 16])],
        outputs: [valueInfo('y', 'float32', ['batch', 8])],
        initializers: [matrix('w1', 16, 32), matrix('w2', 32, 8)],
      }),
      { '': 17 },
      8,
    ),
  )
}

describe('tarballs', () => {
  it.each(packages.map((p) => p.manifest.name))('%s is packed as publint asks', async (name) => {
    const bytes = readFileSync(tarball(name))
    const { messages, pkg } = await publint({ pack: { tarball: new Uint8Array(bytes).buffer }, strict: true })
    expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([])
  })

  it.each(packages.map((p) => p.manifest.name))('%s has a licence, a README and no sources', async (name) => {
    const files = createPackageFromTarballData(readFileSync(tarball(name))).listFiles().map((f) => f.slice(f.indexOf(`${name}/`) + name.length + 1))
    expect(files).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'package.json']))
    expect(files.filter((f) => !/^(dist\/.*\.(js|d\.ts|wasm|json)|[\w-]+\.schema\.json|LICENSE|README\.md|package\.json)$/.test(f))).toEqual([])
  })

  it.each(packages.filter((p) => Object.keys(p.manifest.exports ?? {}).length > 1).map((p) => p.manifest.name))('%s has right types for who imports it', async (name) => {
    const result = await checkPackage(createPackageFromTarballData(readFileSync(tarball(name))))
    if (result.types === false) throw new Error('no types')
    // ESM only: how CommonJS and the resolution before `exports` see the package does not count.
    const counts = result.problems.filter((p) => !('resolutionKind' in p) || p.resolutionKind === 'node16-esm' || p.resolutionKind === 'bundler')
    expect(counts.filter((p) => p.kind !== 'CJSResolvesToESM')).toEqual([])
  })
})

describe('a user who installs', () => {
  it('core alone can quantize a host of their own, and gets nothing else', async () => {
    const user = await userOf('core', '@lowbit/core')
    const out = await user.node(`
      import { quantize, int4 } from '@lowbit/core'
      import { toyHost } from '@lowbit/core/testkit'
      const { report } = await quantize(toyHost(), { format: 'toy-json', weights: int4({ group: 8 }) })
      console.log(report.sites.filter((s) => s.status === 'quantized').length > 0)
    `)
    expect(out.trim()).toBe('true')
    const lock: { packages: Record<string, unknown> } = JSON.parse(readFileSync(join(user.folder, 'package-lock.json'), 'utf8'))
    expect(Object.keys(lock.packages).filter((key) => key !== '')).toEqual(['node_modules/@lowbit/core'])
  })

  it('core has types that stand on their own', async () => {
    const user = await userOf('types', '@lowbit/core')
    writeFileSync(join(user.folder, 'use.ts'), "import { int8, type ModelHost, type QTensor, type Scheme } from '@lowbit/core'\nimport { hostSuite } from '@lowbit/core/testkit'\nexport const scheme: Scheme = int8()\nexport const use = (h: ModelHost, q: QTensor): typeof hostSuite => { h.assign('a', q); return hostSuite }\n")
    await run(process.execPath, [TSC, ...STRICT, '--noEmit', 'use.ts'], user.folder)
  })

  it.each(['onnxruntime-node', 'onnxruntime-web'])('core, backend-ort and %s can quantize an ONNX model and run it', async (runtime) => {
    const version = JSON.parse(readFileSync(join(ROOT, 'node_modules', runtime, 'package.json'), 'utf8')).version
    const user = await userOf(runtime, '@lowbit/core', '@lowbit/backend-ort', `${runtime}@${version}`)
    writeFileSync(join(user.folder, 'model.onnx'), smallModel())
    const out = await user.node(`
      import { readFileSync } from 'node:fs'
      import { int8, quantize } from '@lowbit/core'
      import { openOnnx } from '@lowbit/backend-ort'
      const x = { x: { dtype: 'float32', shape: [2, 16], data: Float32Array.from({ length: 32 }, (_, i) => Math.cos(i * i)) } }
      const host = await openOnnx(new Uint8Array(readFileSync('model.onnx')))
      const wanted = (await host.run(x)).y.data
      const result = await quantize(host, { weights: int8() })
      await result.save('small.onnx')
      await host.dispose()
      const small = await openOnnx('small.onnx')
      const got = (await small.run(x)).y.data
      const worst = Math.max(...Array.from(got, (v, i) => Math.abs(v - wanted[i])))
      const largest = Math.max(...Array.from(wanted, Math.abs))
      console.log(JSON.stringify({ close: worst < 0.05 * largest, moved: worst > 0, recipe: readFileSync('small.onnx').includes('lowbit.recipe') }))
      await small.dispose()
    `)
    expect(JSON.parse(out)).toEqual({ close: true, moved: true, recipe: true })
    const other = runtime === 'onnxruntime-node' ? 'onnxruntime-web' : 'onnxruntime-node'
    expect(existsSync(join(user.folder, 'node_modules', other))).toBe(false)
  })

  it('the command can inspect and quantize', async () => {
    const user = await userOf('cli', tarball('lowbit'))
    writeFileSync(join(user.folder, 'model.onnx'), smallModel())
    const lowbit = (...args: string[]): Promise<string> => run('npx', ['--no-install', 'lowbit', ...args], user.folder)
    expect((await lowbit('--version')).trim()).toBe(manifestOf(readFileSync(tarball('lowbit'))).version)
    expect(await lowbit('inspect', 'model.onnx')).toContain('first')
    await lowbit('quantize', 'model.onnx', '-o', 'small.onnx', '--weights', 'int8')
    expect(readFileSync(join(user.folder, 'small.onnx')).length).toBeLessThan(smallModel().length)
    await lowbit('quantize', 'model.onnx', '-o', 'int4.onnx', '--weights', 'int4', '--group', '16')

    // What calibrates and decodes is not there, and the command says how to get it.
    const bytes = diskBytes(join(user.folder, 'node_modules'))
    console.log(`lowbit for weights alone: ${(bytes / 1e6).toFixed(2)} MB on disk`)
    expect(bytes).toBeLessThan(10e6)
    expect(existsSync(join(user.folder, 'node_modules', 'onnxruntime-node'))).toBe(false)
    writeFileSync(join(user.folder, 'data.npz'), writeNpz({ x: { dtype: 'float32', shape: [4, 16], data: new Float32Array(64).fill(0.5) } }))
    await expect(lowbit('quantize', 'model.onnx', '-o', 'static.onnx', '-c', 'data.npz')).rejects.toThrow(/LOWBIT_DEPENDENCY: ONNX Runtime: .*not installed.*`npm install onnxruntime-node`.*--ignore-scripts/)
    const scripts = readdirSync(join(user.folder, 'node_modules'), { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('package.json')).filter((f) => /"(pre|post)?install"\s*:/.test(readFileSync(join(user.folder, 'node_modules', f), 'utf8')))
    expect(scripts).toEqual([])
  })

  it('the command and ONNX Runtime can calibrate', async () => {
    const version = JSON.parse(readFileSync(join(ROOT, 'node_modules', 'onnxruntime-node', 'package.json'), 'utf8')).version
    const user = await userOf('cli-ort', tarball('lowbit'), `onnxruntime-node@${version}`)
    writeFileSync(join(user.folder, 'model.onnx'), smallModel())
    writeFileSync(join(user.folder, 'data.npz'), writeNpz({ x: { dtype: 'float32', shape: [4, 16], data: Float32Array.from({ length: 64 }, (_, i) => Math.sin(i)) } }))
    await run('npx', ['--no-install', 'lowbit', 'quantize', 'model.onnx', '-o', 'static.onnx', '-c', 'data.npz', '--report', 'r.html'], user.folder)
    expect(readFileSync(join(user.folder, 'r.html'), 'utf8')).toContain('<svg')
  })
})

describe('a third party', () => {
  it('builds a backend on the published entry points of core alone, and it passes the host suite', async () => {
    const example = join(ROOT, 'examples', 'third-party-backend')
    const user = await userOf('third-party', '@lowbit/core')
    for (const part of ['src', 'test']) cpSync(join(example, part), join(user.folder, part), { recursive: true })
    // node:test in place of vitest: the suite takes the runner's functions, whichever it is.
    writeFileSync(
      join(user.folder, 'test', 'host.test.ts'),
      `
      import { describe, it } from 'node:test'
      import { hostSuite } from '@lowbit/core/testkit'
      import { openMlp } from '../src/host.js'
      import { sampleBatches, sampleModel } from './sample.js'
      hostSuite({ runner: { describe: (name, body) => void describe(name, body), it: (name, body) => void it(name, body) }, factory: async () => openMlp(sampleModel()), batches: sampleBatches() })
      `,
    )
    const types = dirname(dirname(createRequire(import.meta.url).resolve('@types/node/package.json')))
    await run(process.execPath, [TSC, ...STRICT, '--types', 'node', '--typeRoots', types, '--rootDir', '.', '--outDir', 'built', 'test/host.test.ts'], user.folder)
    const out = await run(process.execPath, ['--test', '--test-reporter=tap', 'built/test/host.test.js'], user.folder)
    expect(out).toMatch(/^# fail 0$/m)
    expect(Number(/^# tests (\d+)$/m.exec(out)?.[1])).toBeGreaterThanOrEqual(9)
    const lines = readdirSync(join(example, 'src')).reduce((sum, file) => sum + readFileSync(join(example, 'src', file), 'utf8').split('\n').length - 1, 0)
    expect(lines).toBeLessThan(250)
  })
})

describe('two versions of an algorithm side by side', () => {
  it('a recipe that pins one refuses the other, and says what to install', async () => {
    const hqq = packages.find((p) => p.manifest.name === '@lowbit/algos-hqq')
    if (hqq === undefined) throw new Error('no algos-hqq')
    const { version } = hqq.manifest
    const releases = await startRegistry([...tarballs.values(), await packAs(hqq, '9.9.0', join(work, 'tarballs'))])
    const folder = join(work, 'pins')
    mkdirSync(folder)
    await installInto(folder, releases.url, ['@lowbit/core', `@lowbit/algos-hqq@9.9.0`, `pinned@npm:@lowbit/algos-hqq@${version}`])
    await releases.close()
    writeFileSync(
      join(folder, 'use.mjs'),
      `
      import { parseRecipe, quantize, resolveRecipe } from '@lowbit/core'
      import { toyHost } from '@lowbit/core/testkit'
      import { hqq as newer } from '@lowbit/algos-hqq'
      import { hqq as pinned } from 'pinned'
      const recipe = parseRecipe({ lowbit: 1, format: 'toy-json', weights: { dtype: 'uint4', group: 8 }, rounding: '@lowbit/algos-hqq', plugins: { '@lowbit/algos-hqq': ${JSON.stringify(version)} } })
      const attempt = async (hqq) => {
        try {
          const { report } = await quantize(toyHost(), resolveRecipe(recipe, { '@lowbit/algos-hqq': (config) => hqq(config) }))
          return JSON.stringify(report)
        } catch (error) {
          return error.message
        }
      }
      console.log(JSON.stringify({ newer: await attempt(newer), pinned: await attempt(pinned) }))
    `,
    )
    const { newer, pinned } = JSON.parse(await run(process.execPath, ['use.mjs'], folder))
    expect(newer).toContain('LOWBIT_VERSION')
    expect(newer).toContain('9.9.0')
    expect(newer).toContain(`npm install @lowbit/algos-hqq@${version}`)
    expect(pinned).toContain(`"version":"${version}"`)
    expect(pinned).not.toContain('9.9.0')
  })
})
