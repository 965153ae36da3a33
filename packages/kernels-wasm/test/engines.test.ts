import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { createWasmKernels } from '../src/index.js'
import { digest } from './engine/digest.js'
import { programDigest } from './engine/program-digest.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const entry = fileURLToPath(new URL('./engine/run.ts', import.meta.url))
const node22 = `${root}tools/engines/node_modules/node22/bin/node`
const node24 = `${root}tools/engines/node_modules/node24/bin/node`

interface Findings {
  readonly node: string
  readonly probe: { readonly relaxed: string; readonly findings: readonly string[] }
  readonly digests: Readonly<Record<string, string>>
  readonly tests: number
  readonly failures: readonly string[]
}

/** The engine run.ts ran on, and what it found. `npm run engines` installs them. */
async function runOn(node: string, flags: readonly string[] = []): Promise<Findings> {
  const { stdout } = await promisify(execFile)(node, [...flags, '--import', 'tsx', entry], { cwd: root, env: { ...process.env, TSX_TSCONFIG_PATH: `${root}tsconfig.base.json`, NODE_OPTIONS: '' }, maxBuffer: 2 ** 24 })
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Findings
}

const scalar = await createWasmKernels({ tier: 'scalar' })
const wanted = `${digest(scalar)} ${programDigest(scalar)}`

describe('engines', () => {
  it('agree on every bit of plain TypeScript: this Node', async () => {
    for (const options of [{ tier: 'simd128' as const, threads: 1 }, { threads: 1 }, { threads: 2 }, { threads: 3 }]) {
      const kernels = await createWasmKernels(options)
      expect(`${digest(kernels)} ${programDigest(kernels)}`, `${kernels.supports.tier}, ${kernels.supports.threads} threads`).toBe(wanted)
      kernels.dispose()
    }
  })

  for (const [name, node] of [['Node 22', node22], ['Node 24', node24]] as const) {
    const there = existsSync(node)
    it.skipIf(!there)(`${name} passes the suite with relaxed SIMD and gives the same bits${there ? '' : ' (skipped: npm run engines has not installed it)'}`, async () => {
      const found = await runOn(node)
      expect(found.failures).toEqual([])
      expect(found.tests).toBeGreaterThan(100)
      expect(['unsigned', 'signed', 'saturating']).toContain(found.probe.relaxed)
      expect(Object.keys(found.digests)).toContain('relaxed-simd/2')
      expect(new Set(Object.values(found.digests))).toEqual(new Set([wanted]))
    }, 300_000)
  }

  const old = process.versions.node.startsWith('20.')
  it.skipIf(!old)(`Node 20 with its flag for relaxed SIMD is refused${old ? '' : ' (skipped: this is another Node)'}`, async () => {
    const found = await runOn(process.execPath, ['--experimental-wasm-relaxed-simd'])
    expect(found.probe.relaxed).toBe('wrong')
    expect(found.probe.findings[0]).toContain('wrong sums')
    expect(found.failures).toEqual([])
    expect(new Set(Object.values(found.digests))).toEqual(new Set([wanted]))
  }, 300_000)
})
