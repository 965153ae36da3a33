import { roundHalfEven } from '../reference/round.js'
import { E8M0_NAN, decodeE8m0 } from './e8m0.js'
import { decodeSmallFloat, encodeSmallFloat, exponentOf, FLOAT4_E2M1FN, FLOAT6_E2M3FN, FLOAT6_E3M2FN, FLOAT8_E4M3FN, FLOAT8_E5M2, type SmallFloat } from './small-float.js'

/** Element types of the OCP Microscaling formats v1.0, with the exponent of their largest value. */
export const MX_FORMATS = {
  mxfp8_e4m3: { element: FLOAT8_E4M3FN, emax: 8 },
  mxfp8_e5m2: { element: FLOAT8_E5M2, emax: 15 },
  mxfp6_e2m3: { element: FLOAT6_E2M3FN, emax: 2 },
  mxfp6_e3m2: { element: FLOAT6_E3M2FN, emax: 4 },
  mxfp4_e2m1: { element: FLOAT4_E2M1FN, emax: 2 },
  mxint8: { element: undefined, emax: 0 },
} as const satisfies Record<string, { readonly element: SmallFloat | undefined; readonly emax: number }>

export type MxFormat = keyof typeof MX_FORMATS

/** Blocks of 32 with one power of two each. */
export const MX_BLOCK = 32

export interface MxCodes {
  /** E8M0, one a block of 32. */
  readonly scales: Uint8Array<ArrayBuffer>
  /** Raw bits one a byte; MXINT8: two's complement, in 1/64. */
  readonly codes: Uint8Array<ArrayBuffer>
}

/**
 * OCP MX v1.0, section 6.3: shared exponent `floor(log2(absmax)) - emax`, elements rounded half to even and saturated.
 * A zero block has scale code 0; a block that holds NaN or infinity has the scale NaN.
 */
export function quantizeMx(x: Float32Array, format: MxFormat): MxCodes {
  const { element, emax } = MX_FORMATS[format]
  const scales = new Uint8Array(Math.ceil(x.length / MX_BLOCK))
  const codes = new Uint8Array(x.length)
  for (let block = 0; block < scales.length; block++) {
    const from = block * MX_BLOCK
    const part = x.subarray(from, from + MX_BLOCK)
    let top = 0
    for (const value of part) top = Number.isFinite(value) ? Math.max(top, Math.abs(value)) : NaN
    if (!part.every(Number.isFinite)) {
      scales[block] = E8M0_NAN
      continue
    }
    const code = top === 0 ? 0 : Math.min(Math.max(exponentOf(top) - emax + 127, 0), 254)
    scales[block] = code
    const inverse = 2 ** (127 - code)
    part.forEach((value, i) => {
      const scaled = value * inverse
      codes[from + i] = element === undefined ? Math.max(-127, Math.min(127, roundHalfEven(scaled * 64))) : encodeSmallFloat(element, scaled, true)
    })
  }
  return { scales, codes }
}

/** Values of MX codes, float32; all of a block whose scale is NaN are NaN. */
export function dequantizeMx({ scales, codes }: MxCodes, format: MxFormat): Float32Array<ArrayBuffer> {
  const { element } = MX_FORMATS[format]
  return Float32Array.from(codes, (code, i) => decodeE8m0(scales[Math.floor(i / MX_BLOCK)] ?? 0) * (element === undefined ? ((code << 24) >> 24) / 64 : decodeSmallFloat(element, code)))
}
