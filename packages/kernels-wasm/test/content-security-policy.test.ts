import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { build } from 'vite'
import { describe, expect, it } from 'vitest'
import { WORKER_SOURCE } from '../src/index.js'

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const there = existsSync(executablePath)
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** What `createWasmKernels` says on a page: its tier, threads and findings, or its error; and how long it took. */
const PAGE = `
import { createWasmKernels } from './kernels.js'
const options = JSON.parse(decodeURIComponent(location.hash.slice(1)))
const start = performance.now()
const said = await createWasmKernels(options).then(({ supports }) => supports, (error) => ({ error: error.message }))
const pre = document.createElement('pre')
pre.textContent = JSON.stringify({ ...said, ms: performance.now() - start })
document.body.append(pre)
`

interface Said {
  readonly tier?: string
  readonly threads?: number
  readonly findings?: readonly string[]
  readonly error?: string
  readonly ms: number
}

describe('a strict Content-Security-Policy', () => {
  it.skipIf(!there)(`names the directive at once, or runs without what it forbids${there ? '' : ' (skipped: no Chromium)'}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lowbit-csp-'))
    const bundle = await build({
      configFile: false, logLevel: 'silent', resolve: { alias: { '@lowbit/core': path('../../core/src/index.ts') } },
      build: { write: false, outDir: folder, minify: false, lib: { entry: path('../src/index.ts'), formats: ['es'], fileName: 'kernels' } },
    })
    const [output] = Array.isArray(bundle) ? bundle : [bundle]
    const code = output !== undefined && 'output' in output ? output.output[0].code : ''
    const files: Record<string, readonly [string, string]> = {
      '/': ['text/html', '<!doctype html><script type="module" src="/page.js"></script>'], '/page.js': ['text/javascript', PAGE], '/kernels.js': ['text/javascript', code], '/worker.js': ['text/javascript', WORKER_SOURCE],
    }
    let policy = ''
    const server = createServer((request, response) => {
      const [type, body] = files[(request.url ?? '').split('?')[0] ?? ''] ?? ['text/plain', '']
      response.writeHead(body === '' ? 404 : 200, { 'Content-Type': type, 'Content-Security-Policy': policy, 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' })
      response.end(body)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
    try {
      let visits = 0
      const ask = async (header: string, options: object): Promise<Said> => {
        policy = header
        const page = await browser.newPage()
        await page.goto(`http://127.0.0.1:${port}/?${visits++}#${encodeURIComponent(JSON.stringify(options))}`)
        const said = JSON.parse((await page.textContent('pre', { timeout: 30_000 })) ?? '') as Said
        await page.close()
        return said
      }
      const none = await ask("script-src 'self'", {})
      expect(none.tier).toBe('scalar')
      expect(none.findings?.join()).toContain("script-src lacks 'wasm-unsafe-eval'")
      const named = await ask("script-src 'self'", { tier: 'simd128' })
      expect(named.error).toMatch(/LOWBIT_UNSUPPORTED.*simd128.*'wasm-unsafe-eval'/)
      const compiles = "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'"
      const blocked = await ask(compiles, { threads: 2 })
      expect(blocked.threads).toBe(1)
      expect(blocked.tier).toBe('relaxed-simd')
      expect(blocked.findings?.join()).toContain('blob: in worker-src')
      expect(blocked.ms).toBeLessThan(5000)
      const served = await ask(compiles, { threads: 2, workerUrl: '/worker.js' })
      expect(served.threads).toBe(2)
      const missing = await ask(compiles, { threads: 2, workerUrl: '/nothing.js' })
      expect(missing.threads).toBe(1)
      expect(missing.findings?.join()).toContain('/nothing.js')
    } finally {
      await browser.close()
      server.close()
      rmSync(folder, { recursive: true, force: true })
    }
  }, 120_000)
})
