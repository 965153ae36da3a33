import { expect, it } from 'vitest'
import { int8, quantize } from '@lowbit/core'
import { graph, hostToTensor, model, node, readOnnx, valueInfo, writeOnnx } from '@lowbit/formats'
import { artifactBlob, openOnnxGraph, saveToHandle } from '../src/index.js'

const bytes = writeOnnx(model(graph({ nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'product')], inputs: [valueInfo('x', 'float32', ['n', 32])], outputs: [valueInfo('y', 'float32', ['n', 32])], initializers: [hostToTensor('w', { dtype: 'float32', shape: [32, 32], data: Float32Array.from({ length: 1024 }, (_, i) => Math.sin(i)) })] }), { '': 17 }, 8))
const made = async (): Promise<Awaited<ReturnType<typeof quantize>>['artifact']> => (await quantize(await openOnnxGraph(bytes), { weights: int8(), format: 'dequantize' })).artifact

/** A file of the File System Access API: what is written shows on closing only. */
function file(fails: boolean): { readonly handle: { createWritable(): Promise<FileSystemWritableFileStream> }; readonly content: () => readonly unknown[]; readonly aborted: () => boolean } {
  let content: readonly unknown[] = ['old']
  let aborted = false
  const written: unknown[] = []
  const stream = {
    write: (data: unknown) => (fails ? Promise.reject(new Error('no room')) : Promise.resolve(void written.push(data))),
    close: () => Promise.resolve(void (content = written)),
    abort: () => Promise.resolve(void (aborted = true)),
  }
  return { handle: { createWritable: () => Promise.resolve(stream as never) }, content: () => content, aborted: () => aborted }
}

it('an artifact becomes a Blob of the same bytes', async () => {
  const artifact = await made()
  const blob = artifactBlob(artifact)
  expect(blob.size).toBe(artifact.size)
  expect(readOnnx(new Uint8Array(await blob.arrayBuffer())).graph?.node.length).toBeGreaterThan(0)
})

it('a file of the browser has the new bytes, or after a failure the old ones', async () => {
  const artifact = await made()
  const good = file(false)
  await saveToHandle(artifact, good.handle)
  expect(good.content()).toEqual([artifact.bytes()])
  const full = file(true)
  await expect(saveToHandle(artifact, full.handle)).rejects.toThrow('no room')
  expect([full.content(), full.aborted()]).toEqual([['old'], true])
})
