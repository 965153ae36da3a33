import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { int4, rtn, type JobResult, type WorkIdentity } from '@lowbit/core'
import { toyJob } from '@lowbit/core/testkit'
import { decodeJob, encodeJob, memoryStore } from '@lowbit/jobs'
import { folderStore } from '@lowbit/jobs/node'

let folder = ''
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'lowbit-store-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const identity: WorkIdentity = { model: 'm', data: 'd', made: ['core 1', 'x@1', 'wasm'], options: { seed: 0, exclude: ['a'] } }
const { job } = toyJob({ scheme: int4({ group: 16 }) })

async function result(): Promise<JobResult> {
  return { ...(await rtn().round(job)), notes: { alpha: 0.25, worst: Number.NEGATIVE_INFINITY }, warnings: ['few rows'], weightSqnr: 21.5, readers: [{ id: 'q', outputSqnr: 30.25, meanShift: Float32Array.of(1, -0) }, { id: 'k' }] }
}

const files = (): readonly string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.safetensors')).map((name) => join(folder, name))

describe('a folder of finished sites', () => {
  it('gives to the next run what it was given, and goes when the work is done', async () => {
    const first = folderStore(folder)
    await first.open?.(identity)
    expect(await first.load('q')).toBeUndefined()
    expect(readdirSync(folder)).toEqual([])
    await first.save('q', await result())
    const second = folderStore(folder)
    await second.open?.(identity)
    expect(await second.load('q')).toEqual(await result())
    expect(second.resumed).toBe(1)
    expect(await second.load('other')).toBeUndefined()
    await second.remove()
    expect(readdirSync(join(folder, '..'))).not.toContain(folder.split('/').at(-1))
    mkdirSync(folder)
  })

  it('gives nothing to a run that depends on anything else, and says in what it differs', async () => {
    const first = folderStore(folder)
    await first.open?.(identity)
    await first.save('q', await result())
    for (const [other, words] of [[{ model: 'n' }, /another model/], [{ data: 'e' }, /other data/], [{ made: ['core 1', 'x@1', 'fast'] }, /other versions/], [{ options: { seed: 1 } }, /other options/]] as const) {
      const said: string[] = []
      const next = folderStore(folder, { onRefused: (sentence) => said.push(sentence) })
      await next.open?.({ ...identity, ...other })
      expect(said.join()).toMatch(words)
      expect(await next.load('q')).toBeUndefined()
      await next.remove()
    }
    const again = folderStore(folder)
    await again.open?.(identity)
    expect(await again.load('q')).toBeDefined()
  })

  it('is never fatal: what was changed, cut short or put in another place is said and not used', async () => {
    const store = folderStore(folder)
    await store.open?.(identity)
    await store.save('q', await result())
    await store.save('k', await result())
    const [one, two] = files()
    const whole = readFileSync(one)
    const reload = async (): Promise<{ readonly kept: unknown; readonly said: string }> => {
      const said: string[] = []
      const next = folderStore(folder, { onRefused: (sentence) => said.push(sentence) })
      await next.open?.(identity)
      const kept = [await next.load('q'), await next.load('k')]
      return { kept: kept.filter((k) => k !== undefined).length, said: said.join() }
    }
    writeFileSync(one, whole.subarray(0, whole.length - 5))
    expect(await reload()).toMatchObject({ kept: 1, said: expect.stringContaining('is not used') as string })
    const flipped = Uint8Array.from(whole)
    flipped[flipped.length - 3] ^= 1
    writeFileSync(one, flipped)
    expect(await reload()).toMatchObject({ kept: 1, said: expect.stringContaining('checksum') as string })
    writeFileSync(one, readFileSync(two))
    expect(await reload()).toMatchObject({ kept: 1, said: expect.stringContaining('belongs to site') as string })
    rmSync(one)
    mkdirSync(one)
    expect(await reload()).toMatchObject({ kept: 1, said: expect.stringContaining('is not used') as string })
    rmSync(one, { recursive: true })
    writeFileSync(one, await encodeJob({ identity: 'of another run', site: 'q', result: await result() }))
    expect((await reload()).kept).toBeLessThanOrEqual(1)
  })

  it('goes on without keeping anything where it cannot write', async () => {
    writeFileSync(join(folder, 'file'), '')
    const said: string[] = []
    const store = folderStore(join(folder, 'file'), { onRefused: (sentence) => said.push(sentence) })
    await store.open?.(identity)
    await store.save('q', await result())
    await store.save('k', await result())
    expect(said).toHaveLength(1)
    expect(said[0]).toMatch(/cannot be kept/)
    expect(await store.load('q')).toBeUndefined()
  })
})

describe('a result as bytes', () => {
  it('is refused where something is missing or of another kind', async () => {
    const kept = { identity: 'i', site: 'q', result: await result() }
    expect(await decodeJob(await encodeJob(kept), 'test')).toEqual(kept)
    const { q } = kept.result
    for (const bad of [{ ...q, codes: q.codes.slice(1) }, { ...q, codes: Float32Array.from(q.codes) }, { ...q, params: { ...q.params, scales: Float64Array.from(q.params.scales) } }, { ...q, scheme: { ...q.scheme, dtype: 'int99' } }]) {
      await expect(decodeJob(await encodeJob({ ...kept, result: { ...kept.result, q: bad as typeof q } }), 'test')).rejects.toMatchObject({ code: 'LOWBIT_FORMAT' })
    }
  })
})

describe('a store in memory', () => {
  it('keeps results of each identity apart', async () => {
    const store = memoryStore()
    await store.open?.(identity)
    await store.save('q', await result())
    await store.open?.({ ...identity, data: 'e' })
    expect(await store.load('q')).toBeUndefined()
    await store.open?.(identity)
    expect(await store.load('q')).toEqual(await result())
  })
})
