import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { chromium } from 'playwright-core'
import { createServer } from 'vite'
import type { EngineFindings } from '../packages/kernels-wasm/test/engine/check.ts'
import { checkWebGpu, type PageFindings, type WebGpuFindings } from './support-page.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json'
const WEBGPU_FLAGS = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader']

interface Line {
  readonly engine: string
  readonly flags: string
  readonly found: EngineFindings | undefined
}

/** `npm run bench -- support`: asks every engine at hand what it does, runs the kernel suites there, and writes docs/support.md. */
export async function benchSupport(): Promise<void> {
  const nodes: Line[] = []
  for (const version of ['20', '22', '24']) {
    const path = process.versions.node.startsWith(`${version}.`) ? process.execPath : `${root}tools/engines/node_modules/node${version}/bin/node`
    for (const flags of version === '20' ? [[], ['--experimental-wasm-relaxed-simd']] : [[]]) nodes.push(await onNode(version, path, flags))
  }
  const pages = await inChromium()
  const dawn = await onDawn()
  writeFileSync(`${root}docs/support.md`, page(nodes, pages, dawn))
  console.log(readFileSync(`${root}docs/support.md`, 'utf8'))
  process.exit(0)
}

async function onNode(version: string, path: string, flags: readonly string[]): Promise<Line> {
  const line = { engine: `Node ${version}`, flags: flags.join(' ') || 'none' }
  if (!existsSync(path)) return { ...line, found: undefined }
  const entry = `${root}packages/kernels-wasm/test/engine/run.ts`
  const { stdout } = await promisify(execFile)(path, [...flags, '--import', 'tsx', entry], { cwd: root, env: { ...process.env, TSX_TSCONFIG_PATH: `${root}tsconfig.base.json`, NODE_OPTIONS: '' }, maxBuffer: 2 ** 24 })
  const found = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as EngineFindings & { node: string }
  return { ...line, engine: `Node ${found.node}`, found }
}

interface PageLine extends Line {
  readonly found: PageFindings | undefined
}

async function inChromium(): Promise<PageLine[]> {
  if (!existsSync(CHROMIUM)) return [{ engine: 'Chromium', flags: 'none', found: undefined }]
  const paths: Record<string, string[]> = JSON.parse(readFileSync(`${root}tsconfig.base.json`, 'utf8')).compilerOptions.paths
  const alias = Object.entries(paths).map(([name, [file]]) => ({ find: new RegExp(`^${name}$`), replacement: `${root}${file}` }))
  const lines: PageLine[] = []
  for (const isolated of [true, false]) {
    const headers = isolated ? { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' } : {}
    const server = await createServer({ root, configFile: false, appType: 'custom', logLevel: 'error', optimizeDeps: { noDiscovery: true }, resolve: { alias }, server: { host: '127.0.0.1', headers, hmr: false, watch: null } })
    server.middlewares.use((_, response) => response.writeHead(200, { 'Content-Type': 'text/html', ...headers }).end('<!doctype html><title>support</title>'))
    await server.listen()
    const { port } = server.httpServer?.address() as { port: number }
    const flags = isolated ? WEBGPU_FLAGS : []
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', ...flags] })
    const tab = await browser.newPage()
    await tab.goto(`http://127.0.0.1:${port}/`)
    const found = await tab.evaluate<PageFindings>(`import('/bench/support-page.ts').then((page) => page.check())`)
    lines.push({ engine: `Chromium ${browser.version()}`, flags: `${isolated ? 'isolated page' : 'page not isolated'}${flags.length === 0 ? '' : `; ${flags.join(' ')}`}`, found })
    await browser.close()
    await server.close()
  }
  return lines
}

async function onDawn(): Promise<WebGpuFindings> {
  if (process.env['VK_ICD_FILENAMES'] === undefined && existsSync(SWIFTSHADER)) process.env['VK_ICD_FILENAMES'] = SWIFTSHADER
  try {
    const { create, globals } = await import('webgpu')
    Object.assign(globalThis, globals)
    return await checkWebGpu(create([]))
  } catch (error) {
    return { absent: error instanceof Error ? error.message : String(error) }
  }
}

function page(nodes: readonly Line[], pages: readonly PageLine[], dawn: WebGpuFindings): string {
  const scalar = nodes.find((line) => line.found !== undefined)?.found?.digests['scalar/1']
  const wasm = [...nodes, ...pages].map(({ engine, flags, found }) =>
    found === undefined
      ? `| ${engine} | ${flags} | not run: not installed | | | |`
      : `| ${engine} | ${flags} | ${found.chosen.tier} | ${'isolated' in found && !found.isolated ? 1 : Math.max(...Object.keys(found.digests).map((key) => Number(key.split('/')[1])))} | ${found.tests - found.failures.length} of ${found.tests} | ${Object.values(found.digests).every((digest) => digest === scalar) ? 'yes' : 'NO'} |`)
  const gpu = [...pages.map(({ engine, flags, found }) => [`${engine}, ${flags}`, found?.webgpu] as const), ['npm webgpu (Dawn) in Node, SwiftShader', dawn] as const].map(([engine, found]) =>
    found === undefined ? `| ${engine} | not run | |` : 'absent' in found ? `| ${engine} | ${found.absent.split('\n')[0]?.replaceAll('|', '/')} | not run |` : `| ${engine} | ${found.findings.join('; ')} | ${found.tests - found.failures.length} of ${found.tests} |`)
  const dot = nodes.map((line) => line.found?.probe.findings[0]).find((text) => text?.includes('operand'))
  return `# Which engines run what

Written by \`npm run bench -- support\` on ${cpus()[0]?.model ?? 'an unknown CPU'}: every line is a run of the kernel suites in that engine, or says that there was none.

## WebAssembly (\`@lowbit/kernels-wasm\`)

| engine | flags, page | tier taken | threads that ran | suite | same bits as plain TypeScript |
| --- | --- | --- | ---: | ---: | --- |
${wasm.join('\n')}
| Firefox, Safari | | not run. By specification they run the modules of WebAssembly 2.0 (simd128) and of 3.0 (relaxed SIMD) as far as they implement these; the probe decides at start | | | |

${dot === undefined ? '' : `On this machine: ${dot}. `}What another does is found out at start, on known numbers: \`probeRelaxedSimd()\` says it in a sentence, and an engine
that gives wrong sums falls back to simd128. Results are the same bits everywhere. VNNI and ARM machines were not at hand: there the probe chooses a
four-way dot product for int8, which has been run on this machine only for bytes that it multiplies exactly (7 bits).

Threads need shared memory: always there in Node, in a browser only on a page that is cross-origin isolated (\`Cross-Origin-Opener-Policy: same-origin\`,
\`Cross-Origin-Embedder-Policy: require-corp\`); elsewhere one thread runs and \`supports.findings\` says so.

## WebGPU (\`@lowbit/kernels-webgpu\`)

| engine | what it found | suite |
| --- | --- | ---: |
${gpu.join('\n')}
| Firefox, Safari | not run. By specification: any browser with navigator.gpu; no feature beyond WebGPU's core limits is required | |

No GPU was at hand: SwiftShader is software. Shaders that read \`f16\` are checked by Dawn's compiler in the tests and have not been run.

## ONNX models, training

\`@lowbit/backend-ort\` is tested in Node with onnxruntime-node and in Chromium with onnxruntime-web (\`npm run test:browser\`); \`@lowbit/backend-tfjs\` in Node on the cpu and wasm backends, its operations also on webgl and webgpu in Chromium.
`
}
