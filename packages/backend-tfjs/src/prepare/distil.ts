import { LowbitError, type Ops } from '@lowbit/core'
import { activationName } from '../layers/batch-norm.js'
import { wrapCall } from '../layers/call.js'
import { functional } from '../layers/functional.js'
import { noTape } from '../ops/no-tape.js'
import { tfjsOps } from '../ops/tfjs-ops.js'
import type { Layer, LayersModel, Tensor, TfCore } from '../tf.js'
import type { Prepared } from './prepare.js'

/** A loss term against a teacher's logits, such as `distillation()` of `@lowbit/algos-qat`. */
export interface DistillationTerm {
  loss<T>(ops: Ops<T>, student: T, teacher: T): T
}

/**
 * Adds a distillation term to every training step of a prepared model: the teacher runs on the same inputs, and the term is added to
 * the loss of `fit` and `trainOnBatch`, and to `prepared.penalty()`. Softmax outputs are taken back to logits.
 *
 * @param teacher a model of the same inputs and output, usually the float model that the training started from; not the prepared one
 * @returns takes the term away again
 * @throws LOWBIT_UNSUPPORTED for models of several outputs, LOWBIT_SHAPE where inputs or output differ
 */
export function distil(tf: TfCore, prepared: Prepared, teacher: LayersModel, term: DistillationTerm): () => void {
  const student = functional(prepared.model)
  expectAlike(student, teacher)
  const [output] = student.outputs
  const inputs: (Tensor | undefined)[] = student.inputs.map(() => undefined)
  const ops = tfjsOps(tf)
  const undo = student.inputs.flatMap(({ sourceLayer }, i) => readersOf(sourceLayer).map(({ layer, position }) => onInput(layer, position, (x) => (inputs[i] = x))))
  undo.push(
    wrapCall(output.sourceLayer, (x, keywords, next) => {
      const y = next(x)
      if (keywords['training'] === true) {
        const seen = inputs.map((given) => given ?? unseen(output.sourceLayer))
        const taught = noTape(tf, () => logits(tf, functional(teacher).outputs[0].sourceLayer, single(teacher.predictOnBatch(seen.length === 1 ? seen[0] : seen))))
        prepared.addPenalty(term.loss(ops, logits(tf, output.sourceLayer, y), taught))
      }
      return y
    }),
  )
  const stop = (): void => {
    for (const take of undo.splice(0).reverse()) take()
  }
  prepared.onRestore(stop)
  return stop
}

function expectAlike(student: LayersModel, teacher: LayersModel): void {
  if (functional(teacher) === student || teacher.layers.some((layer) => student.layers.includes(layer))) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'distillation', found: 'a teacher that shares layers with the prepared model', expected: 'a model of its own', fix: 'load or build the float model a second time' })
  }
  const shapes = (model: LayersModel): string => functional(model).inputs.map((t) => JSON.stringify(t.shape)).join(' ') + ' → ' + functional(model).outputs.map((t) => JSON.stringify(t.shape)).join(' ')
  if (student.outputs.length !== 1) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'distillation', found: `${student.outputs.length} outputs`, expected: 'one' })
  if (shapes(student) !== shapes(teacher)) throw new LowbitError('LOWBIT_SHAPE', { thing: 'teacher', found: shapes(teacher), expected: shapes(student) })
}

/** Layers that read an input of the model, and at which place of theirs. */
function readersOf(input: Layer): { readonly layer: Layer; readonly position: number }[] {
  const nodes: unknown = Reflect.get(input, 'outboundNodes')
  if (!Array.isArray(nodes)) return []
  return nodes.flatMap((node: Layer['inboundNodes'][number]) => {
    const position = node.inboundLayers.indexOf(input)
    return position < 0 ? [] : [{ layer: node.outboundLayer, position }]
  })
}

/** Shows what a layer is given at one of its inputs while training. */
function onInput(layer: Layer, position: number, see: (x: Tensor) => void): () => void {
  const own = Object.getOwnPropertyDescriptor(layer, 'call')
  const call = layer.call
  layer.call = (given, keywords) => {
    if (keywords?.['training'] === true) see(Array.isArray(given) ? given[position] : given)
    return call.call(layer, given, keywords)
  }
  return () => {
    if (own === undefined) Reflect.deleteProperty(layer, 'call')
    else Object.defineProperty(layer, 'call', own)
  }
}

/** Of probabilities their logarithm: softmax of it gives them back. */
function logits(tf: TfCore, layer: Layer, y: Tensor): Tensor {
  return layer.getClassName() === 'Softmax' || activationName(layer) === 'softmax' ? tf.log(tf.maximum(y, 1e-12)) : y
}

const single = (out: Tensor | Tensor[]): Tensor => (Array.isArray(out) ? out[0] : out)

function unseen(layer: Layer): never {
  throw new LowbitError('LOWBIT_INTERNAL', { thing: `layer '${layer.name}'`, found: 'an output before the model was given its input', expected: 'a forward pass from the model’s inputs' })
}
