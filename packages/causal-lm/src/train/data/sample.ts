/** A text or conversation as tokens: each is learned or only read. */
export interface Sample {
  readonly tokens: readonly number[]
  /** 1 where a token is learned, 0 where it is not; as long as the tokens. Absent: all are. */
  readonly learned?: readonly number[]
}
