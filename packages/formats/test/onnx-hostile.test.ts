import { isLowbitError } from '@lowbit/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { graph, hostToTensor, model, node, ONNX_LIMITS, readOnnx, tensorsOf, tensorToHost, valueInfo, writeOnnx, FunctionProtoSchema, create, type FunctionProto, type GraphProto } from '@lowbit/formats'
import { realModel, richModel } from './models.js'

/** Reads a model and everything in it; only a LowbitError may come out. */
function outcome(bytes: Uint8Array, options = {}): string {
  try {
    const read = readOnnx(bytes, options)
    for (const t of tensorsOf(read)) {
      try {
        tensorToHost(t)
      } catch (error) {
        if (!isLowbitError(error)) throw error
      }
    }
    writeOnnx(read)
    return 'read'
  } catch (error) {
    if (!isLowbitError(error)) throw error
    return error.code
  }
}

function varint(value: number): number[] {
  const out: number[] = []
  for (; value >= 128; value = Math.floor(value / 128)) out.push((value % 128) + 128)
  return [...out, value]
}
const field = (number: number, content: readonly number[]): number[] => [...varint(number * 8 + 2), ...varint(content.length), ...content]

describe('hostile ONNX files', () => {
  const small = writeOnnx(richModel(8))

  it('every truncation is refused', () => {
    // The last fields of a message are optional: a cut between two of them leaves a shorter, sound file.
    for (let length = 0; length < small.length; length++) expect(['LOWBIT_FORMAT', 'read']).toContain(outcome(small.slice(0, length)))
    expect(outcome(small.slice(0, small.length >> 1))).toBe('LOWBIT_FORMAT')
  })

  it('garbage is refused', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(outcome(bytes)).not.toBe('read')
      }))
    expect(outcome(new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\n'))).toBe('LOWBIT_FORMAT')
  })

  it('mutated bytes of a small model never escape as anything but a LowbitError', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(small.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }), (changes) => {
        const bytes = small.slice()
        for (const [at, value] of changes) bytes[at] = value
        outcome(bytes)
      }),
      { numRuns: 2000 },
    )
  })

  it('mutated, cut and spliced real models never escape as anything but a LowbitError', () => {
    const bytes = realModel('ch_ppocr_mobile_v2.0_cls_infer.onnx')
    fc.assert(
      fc.property(fc.nat(bytes.length), fc.nat(64), fc.uint8Array({ maxLength: 32 }), (at, cut, insert) => {
        outcome(new Uint8Array([...bytes.subarray(0, at), ...insert, ...bytes.subarray(at + cut)]))
      }),
      { numRuns: 40 },
    )
  })

  it('a length beyond the file is refused before anything is allocated', () => {
    expect(outcome(Uint8Array.of(0x08, 10, 0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f))).toBe('LOWBIT_FORMAT')
    expect(outcome(Uint8Array.of(0x08, 10, 0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f))).toBe('LOWBIT_FORMAT')
    expect(outcome(Uint8Array.of(0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))).toBe('LOWBIT_FORMAT')
  })

  it('a child longer than its parent is refused', () => {
    const good = [0x08, 10, ...field(7, field(2, [65, 66]))]
    expect(outcome(Uint8Array.from(good))).toBe('read')
    const bad = good.slice()
    bad[5] = 20
    expect(outcome(Uint8Array.from([...bad, ...new Array<number>(30).fill(0)]))).toBe('LOWBIT_FORMAT')
  })

  it('a known field of another wire type is refused', () => {
    expect(outcome(Uint8Array.of(0x08, 10, 0x38, 1))).toBe('LOWBIT_FORMAT')
  })

  it('subgraphs nested too deep are refused, a few levels are read', () => {
    const nested = (levels: number): Uint8Array => {
      let inner: GraphProto = graph({ nodes: [], inputs: [], outputs: [valueInfo('y')] })
      for (let i = 0; i < levels; i++) inner = graph({ nodes: [node('Loop', [], [`y${i}`], { body: inner })], inputs: [], outputs: [] })
      return writeOnnx(model(inner))
    }
    expect(outcome(nested(20))).toBe('read')
    let bytes: number[] = field(2, [65])
    for (let i = 0; i < 300; i++) bytes = field(1, field(5, field(6, bytes)))
    expect(outcome(Uint8Array.from([0x08, 10, ...field(7, bytes)]))).toBe('LOWBIT_LIMIT')
  })

  it('groups nested too deep are refused', () => {
    expect(outcome(Uint8Array.from([0x08, 10, ...new Array<number>(100_000).fill(0xfb)]))).not.toBe('read')
    expect(outcome(Uint8Array.from([0x08, 10, ...Array.from({ length: 100_000 }, () => [0xfb, 0x3e]).flat()]))).toBe('LOWBIT_LIMIT')
  })

  it('millions of empty messages or numbers in a small file are refused without memory for them', () => {
    const nodes = new Uint8Array(2 * (ONNX_LIMITS.messages + 10))
    for (let i = 0; i < nodes.length; i += 2) nodes[i] = 0x0a
    const head = [0x08, 10, ...varint(7 * 8 + 2), ...varint(nodes.length)]
    const file = new Uint8Array(head.length + nodes.length)
    file.set(head)
    file.set(nodes, head.length)
    const before = process.memoryUsage().heapUsed
    expect(outcome(file)).toBe('LOWBIT_LIMIT')
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 << 20)
    expect(outcome(small, { limits: { messages: 3 } })).toBe('LOWBIT_LIMIT')
    expect(outcome(small, { limits: { bigints: 1 } })).toBe('LOWBIT_LIMIT')
  })

  it('cycles are refused, nodes out of order are read', () => {
    const of = (...nodes: ReturnType<typeof node>[]): string => outcome(writeOnnx(model(graph({ nodes, inputs: [valueInfo('x')], outputs: [valueInfo('a')] }))))
    expect(of(node('Add', ['b', 'x'], ['a']), node('Relu', ['x'], ['b']))).toBe('read')
    expect(of(node('Add', ['b', 'x'], ['a']), node('Relu', ['a'], ['b']))).toBe('LOWBIT_FORMAT')
    expect(of(node('Relu', ['a'], ['a']))).toBe('LOWBIT_FORMAT')
    expect(of(node('Relu', ['x'], ['a']), node('Abs', ['x'], ['a']))).toBe('LOWBIT_FORMAT')
    const body = graph({ nodes: [node('Relu', ['a'], ['inner'])], inputs: [], outputs: [valueInfo('inner')] })
    expect(of(node('If', ['x'], ['b'], { then_branch: body }), node('Abs', ['b'], ['a']))).toBe('LOWBIT_FORMAT')
  })

  it('functions that call themselves are refused', () => {
    const recursive = model(graph({ nodes: [node('F', ['x'], ['y'], {}, 'mine')], inputs: [valueInfo('x')], outputs: [valueInfo('y')] }))
    const f = (name: string, calls: string): FunctionProto =>
      create(FunctionProtoSchema, { name, domain: 'mine', input: ['x'], output: ['y'], node: [node(calls, ['x'], ['y'], {}, 'mine')] })
    recursive.functions = [f('F', 'G'), f('G', 'Relu')]
    expect(outcome(writeOnnx(recursive))).toBe('read')
    recursive.functions = [f('F', 'G'), f('G', 'F')]
    expect(outcome(writeOnnx(recursive))).toBe('LOWBIT_FORMAT')
  })

  it('a tensor that claims more than the file holds is refused when read', () => {
    const t = hostToTensor('w', { dtype: 'float32', shape: [1], data: Float32Array.of(1) })
    t.dims = [1n << 45n]
    const read = readOnnx(writeOnnx(model(graph({ nodes: [], inputs: [], outputs: [], initializers: [t] }))))
    expect(() => tensorToHost([...tensorsOf(read)][0])).toThrow('LOWBIT_SHAPE')
  })
})
