import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { int4, int8, isLowbitError, quantize } from '@lowbit/core'
import { metadata, readOnnx } from '@lowbit/formats'
import { saveOnnx } from '@lowbit/formats/node'
import { openOnnxGraph } from '@lowbit/onnx'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import manifest from '../package.json' with { type: 'json' }
import { openOnnx, VERSION } from '../src/index.js'
import { matrices, tied } from './support/models.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowbit-artifact-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('an artifact', () => {
  it('tells how it was made', async () => {
    const host = await openOnnx(matrices().bytes)
    const { artifact } = await quantize(host, { format: 'dequantize', weights: int8(), exclude: ['third'] })
    const recipe = JSON.parse(metadata(readOnnx(artifact.bytes()), 'lowbit.recipe') ?? '{}')
    expect(recipe).toMatchObject({ lowbit: 1, options: { format: 'dequantize', exclude: ['third'] } })
    expect(recipe.plugins).toContainEqual(expect.objectContaining({ name: '@lowbit/onnx' }))
    const graph = await openOnnxGraph(matrices().bytes)
    const other = await quantize(graph, { format: 'dequantize', weights: int8(), exclude: ['third'] })
    expect(Buffer.from(other.artifact.bytes()).equals(artifact.bytes()), 'the same file, opened with a runtime or without').toBe(true)
    await Promise.all([host.dispose(), graph.dispose()])
  })

  it('is the same bytes for the same decisions, and as long as it says', async () => {
    const made = await Promise.all(
      [0, 1].map(async () => {
        const host = await openOnnx(tied().bytes)
        const { artifact } = await quantize(host, { format: 'matmul-nbits', weights: int4({ group: 32 }) })
        expect(artifact.bytes()).toHaveLength(artifact.size)
        await host.dispose()
        return artifact.bytes()
      }),
    )
    expect(made[0]).toEqual(made[1])
  })

  it('appears whole, in place of what stood there', async () => {
    const path = join(folder, 'model.onnx')
    await writeFile(path, 'old')
    const host = await openOnnx(matrices().bytes)
    const { artifact } = await quantize(host, { format: 'matmul-nbits', weights: int4({ group: 32 }) })
    await artifact.save(path)
    expect(new Uint8Array(await readFile(path))).toEqual(new Uint8Array(artifact.bytes()))
    expect(await readdir(folder)).toEqual(['model.onnx'])
    const lost: unknown = await artifact.save(join(folder, 'no', 'folder.onnx')).catch((error: unknown) => error)
    expect(isLowbitError(lost, 'LOWBIT_FILE')).toBe(true)
    await host.dispose()
  })
})

describe('a model with external data', () => {
  it('is opened, run, quantized and saved with external data again', async () => {
    const path = join(folder, 'big.onnx')
    const small = matrices()
    await saveOnnx(path, readOnnx(small.bytes), { external: true })
    expect((await stat(path)).size).toBeLessThan(4000)

    const host = await openOnnx(path)
    const inline = await openOnnx(small.bytes)
    expect(host.sites()).toEqual(inline.sites())
    expect(await host.readWeight('second')).toEqual(await inline.readWeight('second'))
    expect(await host.run(small.batch)).toEqual(await inline.run(small.batch))
    const { artifact } = await quantize(host, { format: 'matmul-nbits', weights: int4({ group: 32 }), exclude: ['fourth'] })
    const out = join(folder, 'q4.onnx')
    await artifact.save(out)
    const saved = await openOnnx(out)
    expect((await saved.run(small.batch)).y?.data).toEqual((await host.run(small.batch)).y?.data)
    for (const h of [host, inline, saved]) await h.dispose()
  })

  it('given as bytes says which file is missing, and takes it', async () => {
    const path = join(folder, 'big.onnx')
    const small = matrices()
    const { files } = await saveOnnx(path, readOnnx(small.bytes), { external: true })
    const bytes = new Uint8Array(await readFile(path))
    const thrown: unknown = await openOnnx(bytes).catch((error: unknown) => error)
    expect(isLowbitError(thrown, 'LOWBIT_FILE')).toBe(true)
    const data = files[1] ?? ''
    const host = await openOnnx(bytes, { externalData: { [data.slice(folder.length + 1)]: new Uint8Array(await readFile(data)) } })
    expect(host.sites()).toHaveLength(4)
    await host.dispose()
  })
})

it('names the version of its package', () => {
  expect(VERSION).toBe(manifest.version)
})
