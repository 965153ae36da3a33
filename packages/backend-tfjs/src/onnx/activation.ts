import { LowbitError } from '@lowbit/core'
import { float } from '@lowbit/formats'
import type { GraphWriter } from './graph-writer.js'

/** An activation function by tfjs's name. @throws LOWBIT_UNSUPPORTED naming the layer. */
export function writeActivation(writer: GraphWriter, activation: string, x: string, layer: string): string {
  const wish = `${layer}/${activation}`
  const op = (type: string, inputs: readonly string[] = [x], attributes = {}): string => writer.op(type, wish, inputs, attributes)
  switch (activation) {
    case 'linear':
      return x
    case 'relu':
      return op('Relu')
    case 'relu6':
      return op('Clip', [x, writer.scalar(`${wish}_min`, 0), writer.scalar(`${wish}_max`, 6)])
    case 'sigmoid':
      return op('Sigmoid')
    case 'tanh':
      return op('Tanh')
    case 'softmax':
      return op('Softmax', [x], { axis: -1 })
    case 'logSoftmax':
      return op('LogSoftmax', [x], { axis: -1 })
    case 'elu':
      return op('Elu')
    case 'selu':
      return op('Selu')
    case 'softplus':
      return op('Softplus')
    case 'softsign':
      return op('Softsign')
    case 'hardSigmoid':
      return op('HardSigmoid', [x], { alpha: float(0.2), beta: float(0.5) })
    case 'swish':
      return op('Mul', [x, writer.op('Sigmoid', `${wish}_gate`, [x])])
    case 'mish':
      return op('Mul', [x, writer.op('Tanh', `${wish}_tanh`, [writer.op('Softplus', `${wish}_softplus`, [x])])])
    case 'gelu':
      return op('Gelu', [x], { approximate: 'none' })
    case 'gelu_new':
      return op('Gelu', [x], { approximate: 'tanh' })
    default:
      throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `layer '${layer}'`, found: `activation '${activation}', which has no ONNX form here`, fix: 'emit the layers format, or use another activation' })
  }
}
