import { createServer } from 'node:http'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { openOnnx } from '@lowbit/backend-ort'
import { int4, quantize } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, type OnnxModel } from '@lowbit/formats'
import { saveOnnx } from '@lowbit/formats/node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const made = (): OnnxModel =>
  model(graph({
    nodes: [node('MatMul', ['x', 'w'], ['h'], {}, '', 'one'), node('MatMul', ['h', 'v'], ['y'], {}, '', 'two')],
    inputs: [valueInfo('x', 'float32', ['n', 32])],
    outputs: [valueInfo('y', 'float32', ['n', 32])],
    initializers: ['w', 'v'].map((name, k) => hostToTensor(name, { dtype: 'float32', shape: [32, 32], data: Float32Array.from({ length: 1024 }, (_, i) => Math.sin(i + k)) })),
  }))

let folder: string
let single: string
let pair: readonly string[]
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowbit-input-'))
  single = (await saveOnnx(join(folder, 'one.onnx'), made(), { external: false })).files[0]
  pair = (await saveOnnx(join(folder, 'two.onnx'), made(), { external: true })).files
})
afterAll(() => rm(folder, { recursive: true }))

const x = { x: { dtype: 'float32', shape: [2, 32], data: Float32Array.from({ length: 64 }, (_, i) => Math.cos(i)) } } as const

async function output(...given: Parameters<typeof openOnnx>): Promise<number[]> {
  const host = await openOnnx(...given)
  try {
    await quantize(host, { weights: int4({ group: 16 }), format: 'matmul-nbits' })
    return Array.from((await host.run(x)).y.data, Number)
  } finally {
    await host.dispose()
  }
}

describe('a model', () => {
  it('is the same however it is given', async () => {
    const bytes = await readFile(single)
    const buffer = new Uint8Array(bytes).buffer
    const expected = await output(single)
    const server = createServer((request, response) => void response.writeHead(request.url === '/one.onnx' ? 200 : 404).end(bytes))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    for (const given of [pathToFileURL(single), pathToFileURL(single).href, buffer, new Uint8Array(buffer), new Blob([buffer]), new File([buffer], 'one.onnx'), new URL(`http://127.0.0.1:${port}/one.onnx`), `data:application/octet-stream;base64,${bytes.toString('base64')}`]) {
      expect(await output(given)).toEqual(expected)
    }
    await expect(openOnnx(`http://127.0.0.1:${port}/none.onnx`)).rejects.toThrow(/LOWBIT_FILE.*404/)
    await new Promise((resolve) => server.close(resolve))
    await expect(openOnnx(`http://127.0.0.1:${port}/one.onnx`)).rejects.toThrow(/LOWBIT_FILE.*could not be fetched/)
  })

  it('of Blobs is read a tensor at a time', async () => {
    const [main, data] = await Promise.all(pair.map(async (path) => new Uint8Array(await readFile(path)).buffer))
    const name = basename(pair[1])
    const expected = await output(pair[0])
    const sizes: number[] = []
    class Watched extends Blob {
      override slice(from = 0, to = this.size): Blob {
        sizes.push(to - from)
        return super.slice(from, to)
      }
    }
    const host = await openOnnx(new Blob([main]), { externalData: { [name]: new Watched([data]) } })
    expect(sizes.filter((size) => size > 1024)).toEqual([])
    await host.readWeight('one')
    expect(sizes).toContain(4096)
    expect(Math.max(...sizes)).toBe(4096)
    await host.dispose()
    expect(await output(new Blob([main]), { externalData: { [name]: new Blob([data]) } })).toEqual(expected)
    expect(await output(new Uint8Array(main), { externalData: new Map([[name, new Blob([data])]]) })).toEqual(expected)
    expect(await output(main, { externalData: { [name]: data } })).toEqual(expected)
    await expect(openOnnx(new Blob([main]))).rejects.toThrow(/LOWBIT_NOT_FOUND.*externalData/)
  })
})
