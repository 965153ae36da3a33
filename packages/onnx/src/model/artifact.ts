import { type Artifact, LowbitError } from '@lowbit/core'
import { isExternal, type ModelProto, onnxChunks, tensorBytes, tensorsOf, writeOnnx } from '@lowbit/formats'
import { isNode } from './is-node.js'
import type { ModelSource } from './source.js'

/** A finished ONNX model. Weights that did not change are still where they were: the host must live until it is saved. */
export function onnxArtifact(format: string, model: ModelProto, source: ModelSource, notes: readonly string[]): Artifact {
  let external = 0
  for (const t of tensorsOf(model)) if (isExternal(t)) external += tensorBytes(t)
  let size: number
  try {
    size = onnxChunks(model).size + external
  } catch (error) {
    if (external > 0 || !(error instanceof LowbitError)) throw error
    size = [...tensorsOf(model)].reduce((sum, t) => sum + t.rawData.length, 0)
  }
  return {
    format,
    size,
    notes,
    bytes() {
      if (external > 0) throw new LowbitError('LOWBIT_LIMIT', { thing: 'model', found: 'weights in external files', expected: 'a model that fits one buffer', fix: 'save it to a path' })
      return writeOnnx(model)
    },
    async save(path) {
      if (!isNode()) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `saving '${path}'`, found: 'no file system', fix: 'use bytes() and offer them as a download' })
      const { saveOnnx } = await import('@lowbit/formats/node')
      await saveOnnx(path, model, source.file === undefined ? {} : { source: source.file })
    },
  }
}
