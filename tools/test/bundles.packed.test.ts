import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { basename, extname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import nodeResolve from '@rollup/plugin-node-resolve'
import { build as esbuild, transform as minify } from 'esbuild'
import { chromium } from 'playwright-core'
import { rollup } from 'rollup'
import { build as vite } from 'vite'
import webpack, { type Configuration } from 'webpack'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { emptyFolder, installInto, packAll } from '../pack.js'
import { startRegistry } from '../registry.js'
import { ROOT } from '../workspace.js'

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

/** What a page does with a small model of its own: open, quantize without data, open again. */
const PAGE = `
import { int4, int8, quantize } from '@lowbit/core'
import { openOnnx } from '@lowbit/backend-ort'
import { gptq } from '@lowbit/algos-gptq'
import { createWasmKernels } from '@lowbit/kernels-wasm'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'

const w = { dtype: 'float32', shape: [64, 64], data: Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i * i)) }
const bytes = writeOnnx(model(graph({ nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'product')], inputs: [valueInfo('x', 'float32', ['n', 64])], outputs: [valueInfo('y', 'float32', ['n', 64])], initializers: [hostToTensor('w', w)] }), { '': 17 }, 8))
async function main() {
  const host = await openOnnx(bytes)
  const { artifact, report } = await quantize(host, { weights: int4({ group: 32 }), format: 'matmul-nbits' })
  const small = await openOnnx(new Blob([artifact.bytes()]))
  const kernels = await createWasmKernels({ threads: 1 })
  const path = await openOnnx('model.onnx').then(() => 'opened', (error) => error.code)
  const runtime = await host.run({ x: { dtype: 'float32', shape: [1, 64], data: new Float32Array(64) } }).then(() => 'ran', (error) => error.code)
  return { before: bytes.length, after: artifact.size, sites: report.sites.length, again: small.skipped().length, tier: kernels.supports.tier, gptq: gptq().name, int8: int8().dtype, path, runtime }
}
main().then((result) => { document.title = 'done'; document.body.dataset.result = JSON.stringify(result) }, (error) => { document.title = 'failed'; document.body.dataset.result = String(error && error.stack || error) })
`

/** A page that quantizes weights alone needs no runtime. */
const WEIGHTS_ALONE = `
import { int4, quantize } from '@lowbit/core'
import { openOnnxGraph } from '@lowbit/onnx'
export async function smaller(bytes) {
  const host = await openOnnxGraph(bytes)
  return (await quantize(host, { weights: int4({ group: 32 }), format: 'matmul-nbits' })).artifact.bytes()
}
`

/** A page that leaves the work to the ready worker, and looks how long it is kept from painting meanwhile. */
const WORKER_PAGE = `
import { onnxWorker } from '@lowbit/backend-ort/worker'
import { quantizeInWorker } from '@lowbit/jobs'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'

const SIZE = 768
const names = ['a', 'b', 'c', 'd']
const weight = (seed) => ({ dtype: 'float32', shape: [SIZE, SIZE], data: Float32Array.from({ length: SIZE * SIZE }, (_, i) => Math.sin(i * seed)) })
const bytes = writeOnnx(model(graph({ nodes: names.map((name, i) => node('MatMul', [i === 0 ? 'x' : 'h' + (i - 1), name], [i === names.length - 1 ? 'y' : 'h' + i], {}, '', name)), inputs: [valueInfo('x', 'float32', ['n', SIZE])], outputs: [valueInfo('y', 'float32', ['n', SIZE])], initializers: names.map((name, i) => hostToTensor(name, weight(i + 1.7))) }), { '': 17 }, 8))
async function main() {
  const worker = onnxWorker()
  const tasks = []
  await new Promise((resolve) => setTimeout(resolve, 100))
  const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)))
  observer.observe({ entryTypes: ['longtask'] })
  let events = 0
  const { bytes: small, report } = await quantizeInWorker(worker, { model: bytes, options: { weights: { dtype: 'int4', group: 32 }, format: 'matmul-nbits', rounding: '@lowbit/core/rtn' }, onProgress: () => events++ })
  await new Promise((resolve) => setTimeout(resolve, 100))
  const reason = new Error('changed my mind')
  const stopped = await quantizeInWorker(worker, { model: new Blob([small]), options: { weights: { dtype: 'int8' } }, signal: AbortSignal.abort(reason) }).then(() => 'ran', (error) => [error.code, error.cause === reason].join())
  worker.terminate()
  return { after: small.length, sites: report.sites.length, events: events > 0, longest: Math.max(0, ...tasks), moved: bytes.length, stopped }
}
main().then((result) => { document.title = 'done'; document.body.dataset.result = JSON.stringify(result) }, (error) => { document.title = 'failed'; document.body.dataset.result = String(error && error.stack || error) })
`

/** Calls what the snippets of docs/browser.md define. */
const DOCS_PAGE = `
import { graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'
import { inWorker, keep, smaller } from './docs.js'
const w = { dtype: 'float32', shape: [64, 64], data: Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i * i)) }
const bytes = writeOnnx(model(graph({ nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'product')], inputs: [valueInfo('x', 'float32', ['n', 64])], outputs: [valueInfo('y', 'float32', ['n', 64])], initializers: [hostToTensor('w', w)] }), { '': 17 }, 8))
async function main() {
  const file = new File([bytes], 'model.onnx')
  const { artifact, report } = await smaller(file)
  const link = await keep(artifact)
  const folder = await navigator.storage.getDirectory()
  let events = 0
  const there = await inWorker(file, AbortSignal.timeout(60000), () => events++)
  return { size: artifact.size, sites: report.sites.length, kept: (await (await folder.getFileHandle('model.q4.onnx')).getFile()).size, downloaded: (await (await fetch(link)).arrayBuffer()).byteLength, worker: there.report.sites.length, progress: events > 0 }
}
main().then((result) => { document.title = 'done'; document.body.dataset.result = JSON.stringify(result) }, (error) => { document.title = 'failed'; document.body.dataset.result = String(error && error.stack || error) })
`

/** Bytes that such a page may load at first: a little over what it does. */
const MOST_FOR_WEIGHTS = 240 * 1024

const work = emptyFolder('bundles')
const user = join(work, 'user')
let server: Server
let base = ''

beforeAll(async () => {
  const tarballs = await packAll(join(work, 'tarballs'))
  const registry = await startRegistry([...tarballs.values()])
  mkdirSync(user)
  await installInto(user, registry.url, ['@lowbit/core', '@lowbit/backend-ort', '@lowbit/formats', '@lowbit/algos-gptq', '@lowbit/kernels-wasm', '@lowbit/jobs', '@lowbit/onnx'])
  await registry.close()
  writeFileSync(join(user, 'page.js'), PAGE)
  writeFileSync(join(user, 'index.html'), '<!doctype html><title>starts</title><body><script type="module" src="./page.js"></script></body>')
  const types: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.json': 'application/json', '.wasm': 'application/wasm' }
  server = createServer((request, response) => {
    const path = join(user, decodeURIComponent(new URL(request.url ?? '/', 'http://page').pathname))
    if (!path.startsWith(user) || !existsSync(path) || !statSync(path).isFile()) return response.writeHead(404).end()
    response.writeHead(200, { 'content-type': types[extname(path)] ?? 'application/octet-stream' }).end(readFileSync(path))
    return undefined
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  base = typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : ''
})
afterAll(() => {
  server.close()
  server.closeAllConnections()
  rmSync(work, { recursive: true, force: true })
})

const BUNDLERS: Readonly<Record<string, (out: string) => Promise<void>>> = {
  vite: async (out) => {
    await vite({ root: user, base: './', logLevel: 'silent', configFile: false, build: { outDir: out, emptyOutDir: true } })
  },
  esbuild: async (out) => {
    await esbuild({ entryPoints: [join(user, 'page.js')], bundle: true, format: 'esm', minify: true, outfile: join(out, 'page.js'), absWorkingDir: user, logLevel: 'silent' })
  },
  rollup: async (out) => {
    const bundle = await rollup({ input: join(user, 'page.js'), plugins: [nodeResolve()], onwarn: (warning) => { throw new Error(warning.message) } })
    await bundle.write({ dir: out, format: 'es' })
    await bundle.close()
  },
  webpack: (out) => packed({ context: user, entry: './page.js', output: { path: out, filename: 'page.js' } }),
}

function packed(configuration: Configuration): Promise<void> {
  return new Promise((resolve, reject) => {
    webpack({ mode: 'production', performance: { hints: false }, ...configuration }, (error, stats) => {
      if (error !== null && error !== undefined) reject(error)
      else if (stats?.hasErrors() === true || stats?.hasWarnings() === true) reject(new Error(stats.toString({ all: false, errors: true, warnings: true })))
      else resolve()
    })
  })
}

/** Opens a page in Chromium and gives what it left on its body. */
async function visit(url: string): Promise<unknown> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] })
  try {
    const page = await browser.newPage()
    await page.goto(url)
    await page.waitForFunction(() => document.title === 'done' || document.title === 'failed', undefined, { timeout: 60_000 })
    const text = await page.evaluate(() => document.body.dataset['result'] ?? '')
    return text.startsWith('{') ? JSON.parse(text) : text
  } finally {
    await browser.close()
  }
}

const EXPECTED = { sites: 1, again: 1, gptq: '@lowbit/algos-gptq', int8: 'int8', path: 'LOWBIT_ARGUMENT', runtime: 'LOWBIT_DEPENDENCY' }

describe.skipIf(!existsSync(CHROMIUM))(`a page in Chromium${existsSync(CHROMIUM) ? '' : ` (skipped: no Chromium at ${CHROMIUM}; install it or set CHROMIUM)`}`, () => {
  it.each(Object.entries(BUNDLERS))('bundled by %s with no configuration runs, and carries no runtime', async (name, bundle) => {
    const out = join(user, `out-${name}`)
    await bundle(out)
    const files = readdirSync(out, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => join(f.parentPath, f.name))
    const scripts = files.filter((f) => f.endsWith('.js'))
    const bytes = scripts.reduce((sum, f) => sum + statSync(f).size, 0)
    console.info(`${name}: ${(bytes / 1024).toFixed(0)} KB, ${(scripts.reduce((sum, f) => sum + gzipSync(readFileSync(f)).length, 0) / 1024).toFixed(0)} KB gzipped`)
    expect(files.filter((f) => f.endsWith('.wasm'))).toEqual([])
    expect(bytes).toBeLessThan(2_000_000)
    if (!existsSync(join(out, 'index.html'))) writeFileSync(join(out, 'index.html'), '<!doctype html><title>starts</title><body><script type="module" src="./page.js"></script></body>')
    const result = await visit(`${base}/out-${name}/index.html`)
    expect(result).toMatchObject(EXPECTED)
    const { before, after } = result as { before: number; after: number }
    expect(after).toBeLessThan(0.3 * before)
  })

  it('loads at first no more than weights alone need, where it is for them', async () => {
    writeFileSync(join(user, 'weights.js'), WEIGHTS_ALONE)
    const bundle = await rollup({ input: join(user, 'weights.js'), plugins: [nodeResolve({ browser: true })], onwarn: (warning) => { throw new Error(warning.message) } })
    const { output } = await bundle.generate({ format: 'es' })
    await bundle.close()
    const chunks = new Map(output.flatMap((o) => (o.type === 'chunk' ? [[o.fileName, o] as const] : [])))
    const first = new Set<string>()
    const visitChunk = (name: string): void => {
      if (first.has(name)) return
      first.add(name)
      chunks.get(name)?.imports.forEach(visitChunk)
    }
    for (const { fileName, isEntry } of chunks.values()) if (isEntry) visitChunk(fileName)
    let bytes = 0
    let zipped = 0
    for (const name of first) {
      const { code } = await minify(chunks.get(name)?.code ?? '', { minify: true })
      bytes += code.length
      zipped += gzipSync(code).length
    }
    console.info(`weights alone, core + formats + onnx: ${(bytes / 1024).toFixed(0)} KB at first, ${(zipped / 1024).toFixed(0)} KB gzipped; ${chunks.size - first.size} parts more where they are asked for`)
    expect(bytes).toBeLessThan(MOST_FOR_WEIGHTS)
    expect(chunks.size).toBeGreaterThan(first.size)
  })

  it.each(['vite', 'webpack', 'no bundler'])('leaves the work to the ready worker, and stays free to paint: %s', async (name) => {
    const folder = join(user, `worker-${name.replace(' ', '-')}`)
    mkdirSync(folder)
    writeFileSync(join(folder, 'page.js'), WORKER_PAGE)
    const html = (script: string): string => `<!doctype html><title>starts</title>${name === 'no bundler' ? `<script type="importmap">${JSON.stringify({ imports: importMap() })}</script>` : ''}<body><script type="module" src="${script}"></script></body>`
    writeFileSync(join(folder, 'index.html'), html('./page.js'))
    let page = `${base}/${basename(folder)}/index.html`
    if (name === 'vite') {
      await vite({ root: folder, base: './', logLevel: 'silent', configFile: false, build: { outDir: join(folder, 'out'), emptyOutDir: true } })
      page = `${base}/${basename(folder)}/out/index.html`
    } else if (name === 'webpack') {
      await packed({ context: folder, entry: './page.js', output: { path: join(folder, 'out'), filename: 'page.js', publicPath: './' } })
      writeFileSync(join(folder, 'out', 'index.html'), html('./page.js'))
      page = `${base}/${basename(folder)}/out/index.html`
    }
    const result = (await visit(page)) as { longest: number }
    expect(result).toMatchObject({ sites: 4, events: true, moved: 0, stopped: 'LOWBIT_ABORTED,true' })
    console.info(`a page with the worker, ${name}: longest task ${result.longest.toFixed(0)} ms (0: none over 50)`)
    expect(result.longest).toBeLessThan(50)
  })

  it('runs every snippet of docs/browser.md', async () => {
    const folder = join(user, 'docs')
    mkdirSync(folder)
    const snippets = [...readFileSync(join(ROOT, 'docs', 'browser.md'), 'utf8').matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code)
    expect(snippets.length).toBeGreaterThan(2)
    writeFileSync(join(folder, 'docs.js'), snippets.join('\n'))
    writeFileSync(join(folder, 'page.js'), DOCS_PAGE)
    writeFileSync(join(folder, 'index.html'), '<!doctype html><title>starts</title><body><script type="module" src="./page.js"></script></body>')
    await vite({ root: folder, base: './', logLevel: 'silent', configFile: false, build: { outDir: join(folder, 'out'), emptyOutDir: true } })
    const result = (await visit(`${base}/docs/out/index.html`)) as { size: number; kept: number; downloaded: number; sites: number }
    expect(result).toMatchObject({ sites: 1, worker: 1, progress: true })
    expect([result.kept, result.downloaded]).toEqual([result.size, result.size])
  })

  it('from script tags with an import map, and no bundler, runs too', async () => {
    writeFileSync(join(user, 'map.html'), `<!doctype html><title>starts</title><script type="importmap">${JSON.stringify({ imports: importMap() })}</script><body><script type="module" src="./page.js"></script></body>`)
    expect(await visit(`${base}/map.html`)).toMatchObject(EXPECTED)
  })
})

/** The file that `exports` gives a browser. */
function forPages(target: unknown): string | undefined {
  if (typeof target === 'string') return target
  if (typeof target !== 'object' || target === null) return undefined
  const conditions = target as Readonly<Record<string, unknown>>
  return forPages(conditions['browser'] ?? conditions['import'] ?? conditions['default'])
}

/** Where a page without a bundler finds the packages. */
function importMap(): Readonly<Record<string, string>> {
  return Object.fromEntries(['@lowbit/core', '@lowbit/backend-ort', '@lowbit/formats', '@lowbit/onnx', '@lowbit/jobs', '@lowbit/algos-gptq', '@lowbit/kernels-wasm', 'fflate'].flatMap((name) => {
    const folder = join(user, 'node_modules', name)
    if (!existsSync(folder)) return []
    const { exports = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { exports?: Record<string, unknown> }
    return Object.entries(exports).flatMap(([key, target]) => {
      const file = forPages(target)
      return file === undefined || !/\.m?js$/.test(file) ? [] : [[name + key.slice(1), `/node_modules/${name}/${file}`]]
    })
  }))
}
