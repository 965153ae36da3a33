import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { dequantizeGgml, GGML_TYPES, ggmlTypeName, quantizeGgml, type GgmlTypeName } from '../../src/layout/ggml-type.js'
import { inputFloats, inputTensor, runGoldens, type GoldenCase, type GoldenSet } from '../../../../tools/goldens.js'

function typeOf(name: unknown): GgmlTypeName {
  if (typeof name !== 'string' || !Object.hasOwn(GGML_TYPES, name)) throw new Error(`no ggml type ${String(name)}`)
  return name as GgmlTypeName
}

function checkFacts(golden: GoldenCase): GgmlTypeName {
  const name = typeOf(golden.params['type'])
  const { blockSize, typeSize, id } = golden.params
  if (id !== undefined) expect({ block: GGML_TYPES[name].block, bytes: GGML_TYPES[name].bytes, id: ggmlTypeName(Number(id)) }).toEqual({ block: blockSize, bytes: typeSize, id: name })
  return name
}

function quantize(golden: GoldenCase, set: GoldenSet) {
  const name = checkFacts(golden)
  const bytes = quantizeGgml(name, inputFloats(set, golden, 'x'))
  return { bytes, y: dequantizeGgml(name, bytes) }
}

function dequantize(golden: GoldenCase, set: GoldenSet) {
  const { data } = inputTensor(set, golden, 'bytes')
  if (!(data instanceof Uint8Array)) throw new Error('bytes are not uint8')
  return { y: dequantizeGgml(checkFacts(golden), data) }
}

interface FileTensor {
  readonly name: string
  readonly type: string
  readonly bytes: number
  readonly fileOffset: number
}

/** The tensors of a whole file, found where the case says they lie: the file's own header is not read here. */
function file(golden: GoldenCase, set: GoldenSet) {
  const content = new Uint8Array(readFileSync(join(set.folder, String(golden.params['file']))))
  expect(content.length).toBe(golden.params['bytes'])
  const tensors = golden.params['tensors'] as readonly FileTensor[]
  // The case states its tolerance for `bytes` and `y` of all tensors together: exact.
  expect([golden.tolerance['bytes'], golden.tolerance['y']]).toEqual(['exact', 'exact'])
  return Object.fromEntries(tensors.flatMap(({ name, type, bytes, fileOffset }) => {
    const raw = content.slice(fileOffset, fileOffset + bytes)
    return [[`bytes:${name}`, same(raw)], [`y:${name}`, same(dequantizeGgml(typeOf(type), raw))]]
  }))
}

const same = (got: Uint8Array | Float32Array) => (want: { readonly data: ArrayLike<number | bigint> }): void => {
  expect(Array.from(got)).toEqual(Array.from(want.data, Number))
}

runGoldens('ggml', { quantize, tensor: quantize, dequantize, gguf: file }, { kindOf: (golden) => golden.id.split('/')[0] ?? '' })
