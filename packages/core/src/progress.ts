/** What long work tells while it runs. `done` and `total` count the same unit, whatever it is. */
export interface ProgressEvent {
  readonly phase: 'open' | 'prepare' | 'calibrate' | 'transform' | 'round' | 'emit' | 'compare' | 'rescue' | 'train'
  readonly done: number
  readonly total: number
  /** What is being worked on: a site, a batch. */
  readonly item?: string
}

export type OnProgress = (event: ProgressEvent) => void
