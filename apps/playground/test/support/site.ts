import { createServer } from 'node:http'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { chromium, type Browser, type Page } from 'playwright-core'
import { build } from 'vite'

export const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.json': 'application/json' }

/** The page as a host of static files serves it, and a browser that looks at it. */
export interface Site {
  /** With the two headers that threads want. */
  readonly isolated: string
  /** A host that cannot send headers. */
  readonly plain: string
  readonly browser: Browser
  /** Compressed bytes of files of the page, by the end of their names. */
  weigh(urls: readonly string[]): number
  close(): Promise<void>
}

/** Builds the page into a folder and serves it. */
export async function openSite(folder: string): Promise<Site> {
  await build({ configFile: join(import.meta.dirname, '../../vite.config.ts'), logLevel: 'silent', build: { outDir: folder, emptyOutDir: true } })
  const fileOf = (url: string): string => {
    const path = decodeURIComponent(new URL(url, 'http://page').pathname)
    return join(folder, path.endsWith('/') ? `${path}index.html` : path)
  }
  const serve = (headers: Readonly<Record<string, string>>) =>
    createServer((request, response) => {
      const file = fileOf(request.url ?? '/')
      if (!file.startsWith(folder) || !existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end()
      return response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', ...headers }).end(readFileSync(file))
    })
  const servers = [serve({ 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }), serve({})]
  const [isolated, plain] = await Promise.all(
    servers.map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const address = server.address()
      return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/`
    }),
  )
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] })
  return {
    isolated,
    plain,
    browser,
    weigh: (urls) => urls.reduce((sum, url) => sum + gzipSync(readFileSync(fileOf(url))).length, 0),
    async close() {
      await browser.close()
      for (const server of servers) {
        server.close()
        server.closeAllConnections()
      }
    },
  }
}

/** What went wrong in a page, beside what its user sees. */
export function complaints(page: Page): readonly string[] {
  const found: string[] = []
  page.on('pageerror', (error) => found.push(error.message))
  page.on('console', (message) => message.type() === 'error' && found.push(message.text()))
  return found
}

/** The longest time that one task had the page's own thread, in milliseconds of processor time: other processes do not lengthen it. */
export function longestTask(trace: Buffer): { readonly milliseconds: number; readonly tasks: number } {
  interface Event { readonly name: string; readonly ph: string; readonly pid: number; readonly tid: number; readonly tdur?: number; readonly args?: { readonly name?: string } }
  const { traceEvents } = JSON.parse(trace.toString()) as { readonly traceEvents: readonly Event[] }
  const mains = new Set(traceEvents.filter((e) => e.name === 'thread_name' && e.args?.name === 'CrRendererMain').map((e) => `${e.pid}/${e.tid}`))
  const tasks = traceEvents.filter((e) => e.ph === 'X' && /RunTask/.test(e.name) && e.tdur !== undefined && mains.has(`${e.pid}/${e.tid}`))
  return { milliseconds: Math.max(0, ...tasks.map((t) => (t.tdur ?? 0) / 1000)), tasks: tasks.length }
}
