/** Scale and zero point of one static activation. */
export interface ActivationParams {
  readonly dtype: 'int8' | 'uint8' | 'int16' | 'uint16'
  readonly scale: number
  readonly zeroPoint: number
}
