import { describe, expect, it } from 'vitest'
import { onnxChunks, readOnnx, tensorsOf, tensorToHost, withFields, writeOnnx } from '@lowbit/formats'
import { realModel, REAL_MODELS, richModel, sameModel } from './models.js'

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

describe('an ONNX model, read and written', () => {
  it.each(REAL_MODELS)('%s says the same', (name) => {
    const bytes = realModel(name)
    const first = readOnnx(bytes)
    const written = writeOnnx(first)
    expect(sameModel(readOnnx(written), first)).toBe(true)
    expect(sameBytes(writeOnnx(readOnnx(written)), written)).toBe(true)
    for (const t of tensorsOf(first)) expect(tensorToHost(t).data.length).toBe(t.dims.reduce((a, b) => a * Number(b), 1))
  })

  it('keeps subgraphs, domains, metadata and fields it does not know', () => {
    const made = richModel()
    const again = readOnnx(writeOnnx(made))
    expect(sameModel(again, made)).toBe(true)
    expect(again.$unknown).toEqual(made.$unknown)
    expect(again.graph?.$unknown).toEqual(made.graph?.$unknown)
  })

  it('keeps unknown fields byte for byte, groups too', () => {
    const plain = writeOnnx(richModel(4))
    const group = [0xfb, 0x3e, 0x08, 0x01, 0xfc, 0x3e] // field 1007 as a group that holds field 1 = 1
    const bytes = new Uint8Array([...plain, ...group])
    const written = writeOnnx(readOnnx(bytes))
    expect([...written.slice(-group.length)]).toEqual(group)
    expect(readOnnx(written)).toEqual(readOnnx(bytes))
  })

  it('passes large tensors through as views of where they are', () => {
    const made = richModel()
    const raw = made.graph?.initializer[0].rawData
    expect(onnxChunks(made).chunks.some((chunk) => chunk === raw)).toBe(true)
  })

  it('reads views, not copies', () => {
    const bytes = writeOnnx(richModel())
    expect(readOnnx(bytes).graph?.initializer[0].rawData.buffer).toBe(bytes.buffer)
  })

  it('changes one field and leaves the original', () => {
    const made = richModel(4)
    const changed = withFields(made, { producerName: 'other' })
    expect([made.producerName, changed.producerName]).toEqual(['lowbit', 'other'])
    expect(readOnnx(writeOnnx(changed)).$unknown).toEqual(made.$unknown)
  })
})
