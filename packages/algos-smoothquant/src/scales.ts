/** Below this a weight channel counts as silent. */
const WEIGHT_FLOOR = 1e-5
/** Least scale: a channel that is 0 everywhere must not be divided by 0. */
const SCALE_FLOOR = 1e-5

/**
 * SmoothQuant (Xiao et al. 2023), equation 4: `s_j = max|X_j|^α / max|W_j|^(1 − α)`. The input is divided by `s`, the weight
 * columns multiplied: α moves the difficulty from activations (0) to weights (1).
 * @param activationMax max|x| per channel
 * @param weightMax max|w| per channel over all consumers
 */
export function smoothScales(activationMax: ArrayLike<number>, weightMax: ArrayLike<number>, alpha: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: activationMax.length }, (_, j) =>
    Math.max(activationMax[j] ** alpha / Math.max(weightMax[j], WEIGHT_FLOOR) ** (1 - alpha), SCALE_FLOOR),
  )
}
