import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'

const root = fileURLToPath(new URL('.', import.meta.url))
const paths: Record<string, string[]> = JSON.parse(readFileSync(`${root}tsconfig.base.json`, 'utf8')).compilerOptions.paths
const shared = fileURLToPath(new URL('../shared/', import.meta.url))

/**
 * Tests in a real browser: headless Chromium, found at CHROMIUM or where Debian's package `chromium` puts it. WebGPU and
 * WebGL run on the software adapter that Chromium brings. The page is cross-origin isolated, so that threads work.
 */
const args = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader']

declare module 'vitest' {
  export interface ProvidedContext {
    /** URL of ../shared as the test server shows it, or '' where nothing lies beside the checkout. */
    sharedUrl: string
  }
}

export default defineConfig({
  resolve: { alias: Object.entries(paths).map(([name, [file]]) => ({ find: new RegExp(`^${name}$`), replacement: `${root}${file}` })) },
  // ONNX Runtime Web finds its WebAssembly beside itself: bundling would move it away.
  optimizeDeps: { exclude: ['onnxruntime-web'] },
  server: {
    headers: { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' },
    fs: { allow: [root, shared] },
  },
  test: {
    name: 'browser',
    include: ['packages/*/test/**/*.browser.test.ts', 'examples/*/test/**/*.browser.test.ts'],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    provide: { sharedUrl: existsSync(shared) ? `/@fs${shared}` : '' },
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      api: { host: '127.0.0.1' },
      provider: playwright({ launchOptions: { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args } }),
      instances: [{ browser: 'chromium' }],
    },
  },
})
