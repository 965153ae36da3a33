/** 1.5 · 2^52: adding it leaves no fraction bits, so the processor rounds, half to even. */
const SHIFT = 6755399441055744

/**
 * Nearest whole number, halves to even: C `rint`, numpy `rint`, ONNX. `Math.round` sends halves up and is never used for a code.
 */
export function roundHalfEven(x: number): number {
  if (x > -2251799813685248 && x < 2251799813685248) return x + SHIFT - SHIFT
  const rounded = Math.round(x)
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded
}

/** Nearest whole number, halves away from zero: C `round`. Exact for float32 arguments. */
export function roundHalfAway(x: number): number {
  return x < 0 ? -Math.floor(0.5 - x) : Math.floor(x + 0.5)
}

/** `x` limited to `[low, high]`; NaN stays NaN. */
export function clamp(x: number, low: number, high: number): number {
  return x < low ? low : x > high ? high : x
}
