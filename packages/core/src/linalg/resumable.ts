import type { LinAlg, SlicedLinAlg, WholeLinAlg } from '../contract/v2/linalg.js'
import { wholly } from '../slices/slices.js'

/** Linear algebra that knows whole operations only, each as one slice. What has slices already is given back. */
export function resumable(linalg: WholeLinAlg & Partial<Pick<LinAlg, 'slices'>>): LinAlg {
  if (hasSlices(linalg)) return linalg
  // Bound: an implementation may be a class.
  const whole: WholeLinAlg = {
    name: linalg.name,
    addGram: (...operands) => linalg.addGram(...operands),
    matmul: (...operands) => linalg.matmul(...operands),
    reverseCholesky: (...operands) => linalg.reverseCholesky(...operands),
    invertUpper: (...operands) => linalg.invertUpper(...operands),
  }
  return {
    ...whole,
    slices: {
      *addGram(...operands) {
        yield
        whole.addGram(...operands)
      },
      *matmul(...operands) {
        yield
        return whole.matmul(...operands)
      },
      *reverseCholesky(...operands) {
        yield
        return whole.reverseCholesky(...operands)
      },
      *invertUpper(...operands) {
        yield
        return whole.invertUpper(...operands)
      },
    },
  }
}

/** Linear algebra from its sliced form: the whole operations are the slices one after another. */
export function fromSlices(name: string, slices: SlicedLinAlg): LinAlg {
  return {
    name,
    slices,
    addGram: (...operands) => wholly(slices.addGram(...operands)),
    matmul: (...operands) => wholly(slices.matmul(...operands)),
    reverseCholesky: (...operands) => wholly(slices.reverseCholesky(...operands)),
    invertUpper: (...operands) => wholly(slices.invertUpper(...operands)),
  }
}

function hasSlices(linalg: WholeLinAlg & Partial<Pick<LinAlg, 'slices'>>): linalg is LinAlg {
  return linalg.slices !== undefined
}
