import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { basename, extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import type { Speed } from './lm-speed.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const WLLAMA = `${ROOT}bench/peers/node_modules/@wllama/wllama/esm/`
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

/** 109 tokens of SmolLM2. */
const PROMPT = 'Once upon a time in a land far away, there was a little girl who loved to read books about the stars and the moon. '.repeat(4)
const FRESH = 48
/** A run of the slow contender takes a minute on a busy machine. */
const PATIENCE_MS = 600_000

const PAGE = `<!doctype html><meta charset="utf-8"><script type="module">
window.ours = (threads, text, fresh) => new Promise((resolve, reject) => {
  const worker = new Worker('/lm-worker.js', { type: 'module' })
  worker.onmessage = ({ data }) => { worker.terminate(); data.error === undefined ? resolve(data) : reject(new Error(data.error)) }
  worker.onerror = (event) => reject(new Error(event.message))
  worker.postMessage({ threads, text, fresh })
})
window.wllama = async (threads, text, fresh) => {
  const { Wllama } = await import('/wllama/index.js')
  const began = performance.now()
  const wllama = new Wllama({ default: '/wllama/wasm/wllama.wasm' }, { suppressNativeLog: true })
  await wllama.loadModelFromUrl(location.origin + '/model.gguf', { n_ctx: 512, n_threads: threads, n_gpu_layers: 0 })
  const opened = performance.now()
  let count = 0, first = 0, last = 0
  await wllama.createCompletion({ prompt: text, max_tokens: fresh, temperature: 0, stream: true, onData: () => { count++; last = performance.now(); first ||= last } })
  await wllama.exit()
  return { openMs: opened - began, firstMs: first - opened, decode: (1000 * (count - 1)) / (last - first) }
}
document.title = 'ready'
</script>`

const TYPES: Readonly<Record<string, string>> = { '.js': 'text/javascript', '.wasm': 'application/wasm' }

/** Why no browser is measured, or undefined. */
export function noBrowser(): string | undefined {
  if (!existsSync(CHROMIUM)) return `no Chromium at ${CHROMIUM}`
  return existsSync(WLLAMA) ? undefined : 'bench/peers is not installed'
}

/** One run of each in Chromium, with the model served beside them and memory that threads can share. */
export async function inChromium(file: string, threads: number, who: 'ours' | 'wllama'): Promise<Speed> {
  const { outputFiles } = await build({ entryPoints: [`${ROOT}bench/lm-worker.ts`], bundle: true, write: false, format: 'esm', splitting: true, outdir: `${ROOT}bench/.bundle`, platform: 'browser', target: 'es2024', minify: true, tsconfig: `${ROOT}tsconfig.base.json`, logLevel: 'error', external: ['node:*'] })
  const scripts = new Map(outputFiles.map(({ path, text }) => [`/${basename(path)}`, text]))
  const server = createServer(({ url = '/' }, response) => {
    const path = url.split('?')[0] ?? '/'
    const headers = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }
    if (path === '/') return response.writeHead(200, { ...headers, 'content-type': 'text/html' }).end(PAGE)
    const script = scripts.get(path)
    if (script !== undefined) return response.writeHead(200, { ...headers, 'content-type': 'text/javascript' }).end(script)
    if (path === '/model.gguf') {
      response.writeHead(200, { ...headers, 'content-length': statSync(file).size })
      return createReadStream(file).pipe(response)
    }
    const peer = `${WLLAMA}${path.replace('/wllama/', '')}`
    if (!path.startsWith('/wllama/') || path.includes('..') || !existsSync(peer)) return response.writeHead(404, headers).end()
    return response.writeHead(200, { ...headers, 'content-type': TYPES[extname(peer)] ?? 'application/octet-stream' }).end(readFileSync(peer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
  try {
    const page = await browser.newPage()
    page.setDefaultTimeout(PATIENCE_MS)
    await page.goto(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/`)
    await page.waitForFunction("document.title === 'ready'")
    const found = await page.evaluate<Partial<Speed> & { readonly prompt?: number }>(`window.${who}(${threads}, ${JSON.stringify(PROMPT)}, ${FRESH})`)
    const { openMs = NaN, firstMs = NaN, decode = NaN, engine } = found
    return { openMs, firstMs, decode, prefill: (1000 * 109) / firstMs, rss: 0, ...(engine === undefined ? {} : { engine }) }
  } finally {
    await browser.close()
    server.close()
  }
}
