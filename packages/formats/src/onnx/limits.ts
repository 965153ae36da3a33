/**
 * What a parser of hostile files allows. Every figure is far above real models: a file over one is an attack or broken.
 */
export interface OnnxLimits {
  /** Messages inside messages; a subgraph in a subgraph costs three. */
  readonly nesting: number
  /** Messages and unknown fields in all: each costs a few hundred bytes once parsed, however small in the file. */
  readonly messages: number
  /** Numbers in attributes and in typed fields of small tensors: each costs 8 bytes once parsed, in an array that has an end. */
  readonly numbers: number
  /** 64-bit integers there: each costs about 32 bytes once parsed. */
  readonly bigints: number
}

export const ONNX_LIMITS: OnnxLimits = {
  nesting: 100,
  messages: 2_000_000,
  numbers: 1 << 26,
  bigints: 1 << 24,
}

/** Sizes in a tensor's shape. */
export const MAX_RANK = 64

/** A protobuf message, and so a model without external data, cannot be longer. */
export const MAX_PROTOBUF_BYTES = 2 ** 31 - 1
