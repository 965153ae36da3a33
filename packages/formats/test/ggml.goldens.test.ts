import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { exactly, inputFloats, inputTensor, runGoldens, type GoldenCase, type GoldenHandler, type GoldenResult } from '../../../tools/goldens.js'
import { BLOCK_TYPES, dequantizeBlocks, GGUF_TYPES, memorySource, openGguf, quantizeBlocks, WRITTEN_TYPES, type BlockType } from '../src/gguf/index.js'

function typeOf(golden: GoldenCase): { readonly name: string; readonly type: BlockType | undefined } {
  const name = String(golden.params['type'])
  const { blockSize, typeSize, id } = golden.params
  const facts = GGUF_TYPES.find((type) => type.name === name)
  if (id !== undefined) expect({ block: facts?.block, bytes: facts?.bytes, id: facts?.id }).toEqual({ block: blockSize, bytes: typeSize, id })
  return { name, type: Object.values<BlockType>(BLOCK_TYPES).find((candidate) => candidate.name === name) }
}

/** bfloat16 values are the upper halves of float32. */
const bfloats = (bytes: Uint8Array): Float32Array => Float32Array.from({ length: bytes.length / 2 }, (_, i) => new DataView(Uint8Array.of(0, 0, bytes[2 * i] ?? 0, bytes[2 * i + 1] ?? 0).buffer).getFloat32(0, true))

const quantize: GoldenHandler = (golden, set) => {
  const { name, type } = typeOf(golden)
  const written = WRITTEN_TYPES.find((candidate) => candidate === name)
  if (written === undefined) throw new Error(`${name} is not written`)
  const bytes = quantizeBlocks(written, inputFloats(set, golden, 'x'))
  return { bytes, y: type === undefined ? bfloats(bytes) : dequantizeBlocks(type, bytes) }
}

const dequantize: GoldenHandler = (golden, set) => {
  const { data } = inputTensor(set, golden, 'bytes')
  const { name, type } = typeOf(golden)
  if (!(data instanceof Uint8Array) || type === undefined) throw new Error(`${golden.id}: no bytes of blocks, or no type ${name}`)
  return { y: dequantizeBlocks(type, data) }
}

const file: GoldenHandler = async (golden, set) => {
  const model = await openGguf(memorySource(new Uint8Array(readFileSync(join(set.folder, String(golden.params['file']))))))
  expect([model.version, golden.params['alignment'] ?? 32, model.metadata.size]).toEqual([golden.params['version'], 32, golden.params['kvCount']])
  // The case states its tolerance for `bytes` and `y` of all tensors together: exact.
  expect([golden.tolerance['bytes'], golden.tolerance['y']]).toEqual(['exact', 'exact'])
  const results: Record<string, GoldenResult> = {}
  for (const name of model.tensors.keys()) {
    results[`bytes:${name}`] = exactly(await model.bytes(name))
    results[`y:${name}`] = exactly((await model.floats(name)).data)
  }
  return results
}

runGoldens('ggml', { quantize, tensor: quantize, dequantize, gguf: file }, { kindOf: (golden) => golden.id.split('/')[0] ?? '' })
