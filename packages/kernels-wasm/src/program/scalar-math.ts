/**
 * `assembly/math.ts` in plain TypeScript: the same operations in the same order, each rounded to float32, and so the same bits.
 */
const f = Math.fround

const LOG2E = f(1.44269504088896341)
const LN2_HIGH = f(0.693359375)
const LN2_LOW = f(-2.1219444e-4)
const EXP = [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1].map(f)
const TANH = [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1].map(f)
const SHIFTER = 12582912

/** `x` to the nearest whole number, ties to even, as the SIMD code rounds. */
export function rint(x: number): number {
  return f(f(x + SHIFTER) - SHIFTER)
}

/** `coefficients[0] · x^n + …`, one rounding an operation. */
function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduce((sum, c, i) => (i === 0 ? c : f(f(sum * x) + c)), 0)
}

export function exp(value: number): number {
  const x = Math.min(Math.max(value, -87), 88)
  const n = rint(f(x * LOG2E))
  const r = f(f(x - f(n * LN2_HIGH)) - f(n * LN2_LOW))
  const p = f(f(f(f(r * r) * polynomial(EXP, r)) + r) + 1)
  return f(p * 2 ** n)
}

export function tanh(x: number): number {
  const size = Math.abs(x)
  const e = exp(f(size + size))
  const z = f(x * x)
  const y = size < 0.625 ? f(f(f(polynomial(TANH, z) * z) * size) + size) : f(1 - f(2 / f(e + 1)))
  return x < 0 || Object.is(x, -0) ? -y : y
}

export function silu(x: number): number {
  return f(x / f(1 + exp(-x)))
}

export function gelu(x: number): number {
  const cube = f(f(f(x * x) * x) * f(0.044715))
  return f(f(x * 0.5) * f(1 + tanh(f(f(x + cube) * f(0.7978845608028654)))))
}

export function relu2(x: number): number {
  const y = Math.max(x, 0)
  return f(y * y)
}

/** Four lanes in the order in which the SIMD code adds them. */
export function total(lanes: ArrayLike<number>): number {
  return f(f((lanes[0] ?? 0) + (lanes[1] ?? 0)) + f((lanes[2] ?? 0) + (lanes[3] ?? 0)))
}
