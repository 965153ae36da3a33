import type { DataSpec } from '@lowbit/formats/data'
import type { Recipe, Report } from '@lowbit/core'
import type { Inspection, ReportDetails } from '@lowbit/report'

/** A model as it was chosen: its file, and the files that hold its weights, by the names that stand in the model. */
export interface ModelFiles {
  readonly name: string
  readonly file: Blob
  readonly data: ReadonlyMap<string, Blob>
}

/** Calibration data as it was chosen. Nothing of it is read on the page's own thread. */
export interface DataFiles {
  readonly files: readonly File[]
  /** How they are read: as in a recipe, without the path. */
  readonly spec: Omit<DataSpec, 'path'>
  /** `tokenizer.json`, for texts. */
  readonly tokenizer?: Blob
}

/** What is inside a model, with what only ONNX files have. */
export interface OnnxInspection extends Inspection {
  readonly opset: number
  /** What was done to it when it was opened, in sentences. */
  readonly prepared: readonly string[]
}

/** One answer of a model that classifies: class index and probability. */
export type Answer = readonly [number, number]

/** What the two models say of one image. */
export interface ImageAnswers {
  readonly name: string
  readonly before: readonly Answer[]
  readonly after: readonly Answer[]
}

/** A variant that is done. */
export interface VariantResult {
  /** Not in memory: the browser keeps it where it keeps files. */
  readonly model: Blob
  /** With the comparison. */
  readonly report: Report
  readonly details: ReportDetails
  readonly answers: readonly ImageAnswers[]
  /** Of texts: the tokens that they became, as `.npz`, for the command. */
  readonly tokens?: Blob
  /** Site id → tensor that it makes. */
  readonly outputs: ReadonlyMap<string, string>
  readonly milliseconds: number
  /** Threads that ONNX Runtime had. */
  readonly threads: number
}

/** Where a variant is. */
export interface Progress {
  readonly step: 'opening' | 'calibrating' | 'rounding' | 'writing' | 'comparing' | 'looking closer'
  readonly done: number
  readonly total: number
}

/** Why something failed, for people. */
export interface FailureSentence {
  readonly code?: string
  readonly message: string
}

export type LabRequest =
  | { readonly type: 'inspect'; readonly id: number; readonly model: ModelFiles }
  | { readonly type: 'run'; readonly id: number; readonly model: ModelFiles; readonly recipe: Recipe; readonly data: DataFiles | undefined }

export type LabAnswer = { readonly id: number } & (
  | { readonly type: 'inspected'; readonly inspection: OnnxInspection }
  | { readonly type: 'progress'; readonly progress: Progress }
  | { readonly type: 'done'; readonly result: VariantResult }
  | { readonly type: 'failed'; readonly failure: FailureSentence }
)
