import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { emptyFolder, installInto, packAs, run } from '../pack.js'
import { startRegistry, type LocalRegistry } from '../registry.js'
import { publishedPackages, ROOT } from '../workspace.js'

const work = emptyFolder('peers')
const NEEDED = ['@lowbit/core', '@lowbit/algos-gptq', '@lowbit/algos-hqq']
const packages = publishedPackages().filter((p) => NEEDED.includes(p.manifest.name))
const of = (name: string): (typeof packages)[number] => {
  const found = packages.find((p) => p.manifest.name === name)
  if (found === undefined) throw new Error(`no package ${name}`)
  return found
}
const FROZEN = ['lowbit-algos-gptq-0.1.0.tgz', 'lowbit-algos-hqq-0.1.0.tgz', 'lowbit-example-third-party-backend-1.0.0.tgz'].map((name) => join(ROOT, 'testdata/frozen', name))

/** Quantizes with GPTQ and HQQ on core's toy model, and prints the versions that the report names. */
const USE = `
  import { quantize, int4, VERSION } from '@lowbit/core'
  import { toyBatches, toyHost } from '@lowbit/core/testkit'
  import { gptq } from '@lowbit/algos-gptq'
  import { hqq } from '@lowbit/algos-hqq'
  const made = []
  for (const [rounding, symmetric] of [[gptq(), true], [hqq(), false]]) {
    const { report } = await quantize(toyHost(), { weights: int4({ group: 8, symmetric }), rounding, calibration: toyBatches() })
    made.push(rounding.apiVersion, ...new Set(report.sites.flatMap((s) => s.algorithm ?? [])))
  }
  console.log(JSON.stringify([VERSION, ...made]))
`

let cores: ReadonlyMap<string, string>
let today: readonly string[]
const registries: LocalRegistry[] = []

beforeAll(async () => {
  const missing = packages.filter((p) => !existsSync(join(p.folder, 'dist')))
  if (missing.length > 0) throw new Error(`not built: ${missing.map((p) => p.manifest.name).join(', ')}; run npm run build`)
  const into = join(work, 'tarballs')
  mkdirSync(into)
  const versions = [of('@lowbit/core').manifest.version, '0.9.0', '1.4.0', '2.0.0']
  cores = new Map(await Promise.all(versions.map(async (version) => [version, await packAs(of('@lowbit/core'), version, into)] as const)))
  today = await Promise.all(['@lowbit/algos-gptq', '@lowbit/algos-hqq'].map((name) => packAs(of(name), of(name).manifest.version, into)))
})
afterAll(async () => {
  for (const registry of registries) await registry.close()
  rmSync(work, { recursive: true, force: true })
})

async function use(purpose: string, core: string, plugins: readonly string[], names: readonly string[], flags: readonly string[] = []): Promise<readonly unknown[]> {
  const registry = await startRegistry([cores.get(core) ?? '', ...plugins])
  registries.push(registry)
  const folder = join(work, purpose)
  mkdirSync(folder)
  await installInto(folder, registry.url, [...flags, `@lowbit/core@${core}`, ...names])
  writeFileSync(join(folder, 'use.mjs'), USE)
  return JSON.parse(await run(process.execPath, ['use.mjs'], folder))
}

describe('plugins beside a core that is newer than they are', () => {
  it.each(['0.9.0', '1.4.0'])('a minor of core leaves them installed and running: %s', async (version) => {
    const { manifest } = of('@lowbit/algos-gptq')
    const made = await use(`minor-${version}`, version, today, ['@lowbit/algos-gptq', '@lowbit/algos-hqq'])
    expect(made).toEqual([version, 2, `@lowbit/algos-gptq@${manifest.version}`, 2, `@lowbit/algos-hqq@${of('@lowbit/algos-hqq').manifest.version}`])
  })

  it('the next major is refused when it is installed', async () => {
    await expect(use('major', '2.0.0', today, ['@lowbit/algos-gptq', '@lowbit/algos-hqq'])).rejects.toThrow(/ERESOLVE/)
  })

  it('those of contract v1 are refused by npm, and run where a user has them all the same', async () => {
    const { manifest } = of('@lowbit/core')
    await expect(use('v1', manifest.version, FROZEN, ['@lowbit/algos-gptq', '@lowbit/algos-hqq'])).rejects.toThrow(/ERESOLVE[\s\S]*@lowbit\/algos-/)
    const made = await use('v1-forced', manifest.version, FROZEN, ['@lowbit/algos-gptq', '@lowbit/algos-hqq'], ['--legacy-peer-deps'])
    expect(made).toEqual([manifest.version, 1, '@lowbit/algos-gptq@0.1.0', 1, '@lowbit/algos-hqq@0.1.0'])
  })
})
