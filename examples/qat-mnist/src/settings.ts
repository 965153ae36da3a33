/** How the networks are trained: the same for every row of the table. */
export interface Settings {
  readonly batch: number
  readonly float: { readonly epochs: number; readonly learningRate: number }
  /** From the float model. */
  readonly during: { readonly epochs: number; readonly learningRate: number }
  /** From scratch, with BatchNorm. */
  readonly scratch: { readonly epochs: number; readonly learningRate: number }
}

export const SETTINGS: Settings = {
  batch: 32,
  float: { epochs: 8, learningRate: 4e-3 },
  during: { epochs: 3, learningRate: 1e-3 },
  scratch: { epochs: 8, learningRate: 3e-3 },
}
