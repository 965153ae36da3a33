import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readOnnx } from '@lowbit/formats'
import { expect } from 'vitest'
import { difference, goldenNumbers, type GoldenHandler, inputTensor, runGoldens } from '../../../tools/goldens.js'
import { meaning, type Meant, oracle } from './support/onnx-oracle.js'

/** Every operator of the set goes the same way: the model is parsed as it lies there, its one node computed by the oracle. */
const handler: GoldenHandler = (golden, set) => {
  const { types, model: file } = golden.params
  if (typeof types !== 'object' || types === null || typeof file !== 'string') throw new Error(`${golden.id}: no types or no model`)
  const typeOf = (role: string): string => String(Reflect.get(types, role))
  const graph = readOnnx(readFileSync(join(set.folder, file))).graph
  const [node, ...others] = graph?.node ?? []
  if (node === undefined || others.length > 0) throw new Error(`${golden.id}: ${others.length + 1} nodes, want 1`)
  const inputs = node.input.map((name): Meant | undefined => {
    if (name === '') return undefined
    const tensor = inputTensor(set, golden, `in:${name}`)
    const type = typeOf(`in:${name}`)
    const numbers = goldenNumbers(tensor)
    // float16 tensors are decoded by the loader; other small floats lie as bits.
    return { type, shape: tensor.shape, values: numbers.map((v) => meaning(type, v, tensor.dtype !== 'float16')) }
  })
  const roles = node.output.map((name) => `out:${name}`)
  const results = oracle(node, inputs, roles.map(typeOf))
  const tolerance = golden.tolerance['out']
  return Object.fromEntries(
    roles.map((role, i) => [
      role,
      (want) => {
        if (tolerance === undefined || (typeof tolerance === 'string' && tolerance !== 'exact')) throw new Error(`${golden.id}: tolerance ${String(tolerance)}`)
        const type = typeOf(role)
        const got = (results[i] ?? []).map((v) => (want.dtype === 'float16' ? meaning(type, v, true) : v))
        const wrong = difference(got, goldenNumbers(want), tolerance as Exclude<typeof tolerance, string> | 'exact')
        if (wrong !== undefined) expect.fail(`${role}: ${wrong}`)
      },
    ]),
  )
}

const OPERATORS = ['Cast', 'QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear', 'MatMulInteger', 'ConvInteger', 'QLinearMatMul', 'QLinearConv']

runGoldens('onnx-node', Object.fromEntries(OPERATORS.map((op) => [op, handler])), { kindOf: ({ params }) => String(params['op']) })
